//! The parsers, one a test.

use std::path::PathBuf;

use pollster::block_on;
use tabtune::adapter::load_peft;
use tabtune::format::gguf::Gguf;
use tabtune::format::{Checkpoint, read_header};
use tabtune::model::{Architecture, lora_modules};

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
    Target { corpus, parse: &parse, takes: 3, inputs: 60_000, bytes: (32, 4096) }.run();
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
    Target { corpus, parse: &parse, takes: 1, inputs: 60_000, bytes: (32, 8192) }.run();
}

fn tiny(name: &str) -> Vec<u8> {
    read(&format!("gguf/tiny/{name}.gguf"))
}

#[test]
fn gguf_headers() {
    let parse = |file| block_on(Gguf::open(&Memory::of([("m.gguf", file)]), "m.gguf")).map(drop);
    let corpus = ["llama", "gemma3", "granite", "phi3"].map(tiny).to_vec();
    Target { corpus, parse: &parse, takes: 4, inputs: 60_000, bytes: (16, 4096) }.run();
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
    Target { corpus, parse: &parse, takes: 1, inputs: 20_000, bytes: (16, 8192) }.run();
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
    Target { corpus, parse: &parse, takes: 4, inputs: 20_000, bytes: (48, 64 << 10) }.run();
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
    Target { corpus, parse: &parse, takes: 5, inputs: 20_000, bytes: (64, 4 << 20) }.run();
}

#[test]
fn configs_of_adapters() {
    let folder = "models/untied_f32_dense";
    let architecture = Architecture::from_json(&read(&format!("{folder}/model/config.json"))).unwrap();
    let (modules, weights) =
        (lora_modules(&architecture), read(&format!("{folder}/adapter/adapter_model.safetensors")));
    let parse = |file| {
        let files = [("adapter_config.json", file), ("adapter_model.safetensors", weights.clone())];
        block_on(load_peft(&Memory::of(files), &modules)).map(drop)
    };
    let corpus = vec![read(&format!("{folder}/adapter/adapter_config.json"))];
    Target { corpus, parse: &parse, takes: 1, inputs: 10_000, bytes: (64, 4 * weights.len() + (64 << 10)) }
        .run();
}
