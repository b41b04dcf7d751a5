//! The parsers, one a test.

use std::path::PathBuf;

use pollster::block_on;
use tabtune::adapter::load_peft;
use tabtune::format::gguf::Gguf;
use tabtune::format::{Checkpoint, read_header};
use tabtune::model::{Architecture, adaptable};

use crate::harness::{Memory, Target};

fn read(path: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn safetensors(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn safetensors_headers() {
    let one = r#"{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
    let two = concat!(
        r#"{"__metadata__":{"format":"pt","x":"y"},"b":{"dtype":"BF16","shape":[4],"data_offsets":[8,16]},"#,
        r#""a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"c":{"dtype":"I8","shape":[7,1],"data_offsets":[1,8]}}"#
    );
    let parse = |file| block_on(read_header(&Memory::of([("m", file)]), "m")).map(drop);
    let corpus = vec![safetensors(one, 24), safetensors(two, 16), safetensors("{}", 0)];
    let target = Target { corpus, parse: &parse, takes: 3, inputs: 1_000_000, bytes: (16, 4096) };
    target.run();
    let sizes = vec!["1"; 100_000].join(",");
    let long = format!(r#"{{"a":{{"dtype":"U8","shape":[{sizes}],"data_offsets":[0,1]}}}}"#);
    target.parsed("a shape without end", &safetensors(&long, 1));
    let strange = format!(r#"{{"a":[{sizes}]}}"#);
    target.parsed("a list for a tensor", &safetensors(&strange, 0));
    let many: Vec<String> =
        (0..10_000).map(|i| format!(r#""{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#)).collect();
    target.parsed("many empty tensors", &safetensors(&format!("{{{}}}", many.join(",")), 0));
}

#[test]
fn indexes_of_shards() {
    let index = r#"{"metadata":{"total_size":24},"weight_map":{"a":"m-1.safetensors"}}"#;
    let shard = safetensors(r#"{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#, 24);
    let parse = |file| {
        let files = [("model.safetensors.index.json", file), ("m-1.safetensors", shard.clone())];
        block_on(Checkpoint::open(&Memory::of(files))).map(drop)
    };
    let corpus = vec![index.as_bytes().to_vec()];
    Target { corpus, parse: &parse, takes: 1, inputs: 1_000_000, bytes: (16, 8192) }.run();
}

/// What bitsandbytes keeps beside the codes of a weight, doubly quantised.
#[test]
fn states_of_bitsandbytes() {
    let parts = [
        ("w", "U8", "[64,1]", 64),
        ("w.absmax", "U8", "[2]", 2),
        ("w.quant_map", "F32", "[16]", 64),
        ("w.nested_absmax", "F32", "[1]", 4),
        ("w.nested_quant_map", "F32", "[256]", 1024),
    ];
    let parse = |state: Vec<u8>| {
        let (mut header, mut end) = (String::new(), 0);
        let of_state = format!("[{}]", state.len());
        let state_part = ("w.quant_state.bitsandbytes__nf4", "U8", of_state.as_str(), state.len());
        for (name, dtype, shape, bytes) in std::iter::once(state_part).chain(parts) {
            let comma = if end == 0 { "" } else { "," };
            let offsets = format!("[{end},{}]", end + bytes);
            header +=
                &format!(r#"{comma}"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#);
            end += bytes;
        }
        let mut file = safetensors(&format!("{{{header}}}"), 0);
        file.extend(&state);
        file.resize(file.len() + end - state.len(), 0);
        block_on(Checkpoint::open(&Memory::of([("model.safetensors", file)]))).map(drop)
    };
    let state = concat!(
        r#"{"quant_type":"nf4","blocksize":64,"dtype":"bfloat16","shape":[2,64],"nested_blocksize":256,"#,
        r#""nested_dtype":"float32","nested_offset":0.0123}"#
    );
    let corpus = vec![state.as_bytes().to_vec()];
    Target { corpus, parse: &parse, takes: 1, inputs: 150_000, bytes: (32, 32 << 10) }.run();
}

fn tiny(name: &str) -> Vec<u8> {
    read(&format!("gguf/tiny/{name}.gguf"))
}

#[test]
fn gguf_headers() {
    let parse = |file| block_on(Gguf::open(&Memory::of([("m.gguf", file)]), "m.gguf")).map(drop);
    let corpus = ["llama", "gemma3", "granite", "phi3"].map(tiny).to_vec();
    Target { corpus, parse: &parse, takes: 4, inputs: 1_000_000, bytes: (16, 4096) }.run();
}

/// A part of a split model, with the other one as it was.
#[test]
fn gguf_headers_in_parts() {
    const NAMES: [&str; 2] = ["part-00001-of-00002", "part-00002-of-00002"];
    let [first, second] = NAMES.map(|name| format!("{name}.gguf"));
    let other = tiny(NAMES[1]);
    let parse = |file| {
        let files = Memory::of([(first.as_str(), file), (second.as_str(), other.clone())]);
        block_on(Gguf::open(&files, &first)).map(drop)
    };
    let corpus = vec![tiny(NAMES[0])];
    Target { corpus, parse: &parse, takes: 1, inputs: 800_000, bytes: (16, 8192) }.run();
}

/// A model of a few values whose tokens are these, each with its type.
fn with_tokens(tokens: &[(String, i32)]) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let value =
        |key: &str, kind: u32, value: Vec<u8>| [text(key), kind.to_le_bytes().to_vec(), value].concat();
    let list = |key: &str, kind: u32, elements: Vec<u8>| {
        let head = [&kind.to_le_bytes()[..], &(tokens.len() as u64).to_le_bytes()].concat();
        value(key, 9, [head, elements].concat())
    };
    let mut values = vec![
        value("general.architecture", 8, text("llama")),
        value("tokenizer.ggml.model", 8, text("llama")),
        list("tokenizer.ggml.tokens", 8, tokens.iter().flat_map(|(token, _)| text(token)).collect()),
        list(
            "tokenizer.ggml.token_type",
            5,
            tokens.iter().flat_map(|(_, kind)| kind.to_le_bytes()).collect(),
        ),
        list("tokenizer.ggml.scores", 6, vec![0; 4 * tokens.len()]),
    ];
    for (key, size) in [
        ("block_count", 1_u32),
        ("context_length", 8),
        ("embedding_length", 4),
        ("feed_forward_length", 4),
        ("attention.head_count", 1),
    ] {
        values.push(value(&format!("llama.{key}"), 4, size.to_le_bytes().to_vec()));
    }
    values.push(value("llama.attention.layer_norm_rms_epsilon", 6, 1_f32.to_le_bytes().to_vec()));
    let embedding = [1_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat();
    let tensor =
        [text("token_embd.weight"), 2_u32.to_le_bytes().to_vec(), embedding, vec![0; 4 + 8]].concat();
    let counts = [1_u64.to_le_bytes(), (values.len() as u64).to_le_bytes()].concat();
    let mut file = [&b"GGUF"[..], &3_u32.to_le_bytes(), &counts, &values.concat(), &tensor].concat();
    file.resize(file.len().next_multiple_of(32) + 4, 0);
    file
}

/// What the headers mean: `config.json` and the files of the tokenizer.
#[test]
fn ggufs_as_folders() {
    let parse = |file| {
        let gguf = block_on(Gguf::open(&Memory::of([("m.gguf", file)]), "m.gguf"))?;
        let folder = gguf.folder()?;
        Architecture::from_json(&folder["config.json"]).map(drop)
    };
    let corpus = ["llama", "gemma3", "granite", "phi3"].map(tiny).to_vec();
    let target = Target { corpus, parse: &parse, takes: 4, inputs: 50_000, bytes: (48, 64 << 10) };
    target.run();
    let tokens = |count: usize, token: &dyn Fn(usize) -> String, kind: i32| {
        with_tokens(&(0..count).map(|number| (token(number), kind)).collect::<Vec<_>>())
    };
    let hex = |number| format!("{number:x}");
    assert!(target.parsed("tokens without merges", &tokens(20_000, &hex, 1)));
    assert!(target.parsed("added tokens", &tokens(20_000, &hex, 3)));
    assert!(target.parsed(
        "tokens to be escaped",
        &tokens(1000, &|number| "\0".repeat(number % 7 + 1) + &hex(number), 1)
    ));
    let runs = |number| "a".repeat(number + 1);
    assert!(target.parsed("tokens that are cut in many ways", &tokens(20, &runs, 1)));
    assert!(!target.parsed("tokens that are cut in too many ways", &tokens(1000, &runs, 1)));
}

#[test]
fn configs_of_models() {
    let parse = |file: Vec<u8>| Architecture::from_json(&file).map(drop);
    let families = [
        "gemma3_f16_language_model",
        "gemma3text_f32_untied",
        "llama_bf16_yarn",
        "phi3_bf16_longrope",
        "smollm3_bf16_tied",
    ];
    let corpus = families.map(|name| read(&format!("families/{name}/model/config.json"))).to_vec();
    // A layer takes some hundred bytes, and a config of a few may ask for many.
    Target { corpus, parse: &parse, takes: 5, inputs: 600_000, bytes: (64, 4 << 20) }.run();
}

#[test]
fn configs_of_adapters() {
    let folder = "models/untied_f32_dense";
    let architecture = Architecture::from_json(&read(&format!("{folder}/model/config.json"))).unwrap();
    let (modules, weights) =
        (adaptable(&architecture), read(&format!("{folder}/adapter/adapter_model.safetensors")));
    let parse = |file| {
        let files = [("adapter_config.json", file), ("adapter_model.safetensors", weights.clone())];
        block_on(load_peft(&Memory::of(files), &modules)).map(drop)
    };
    let corpus = vec![read(&format!("{folder}/adapter/adapter_config.json"))];
    Target { corpus, parse: &parse, takes: 1, inputs: 600_000, bytes: (64, 4 * weights.len() + (64 << 10)) }
        .run();
}
