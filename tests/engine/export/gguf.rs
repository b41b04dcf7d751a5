use std::collections::BTreeMap;

use serde_json::Value;
use tabtune::error::Code;
use tabtune::export::{ExportDtype, Format};
use xxhash_rust::xxh3::xxh3_128;

use super::sink::{copy_of, exported, fixture, options};

/// What a GGUF says of itself: scalars as text, and tensors with kind, sizes (columns first) and bytes.
struct Parsed {
    values: BTreeMap<String, String>,
    tensors: BTreeMap<String, (u32, Vec<u64>, Vec<u8>)>,
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().unwrap())
    }

    fn string(&mut self) -> String {
        let length = self.u64() as usize;
        String::from_utf8(self.take(length).to_vec()).unwrap()
    }

    fn value(&mut self, kind: u32) -> String {
        match kind {
            4 => self.u32().to_string(),
            5 => (self.u32() as i32).to_string(),
            6 => f32::from_bits(self.u32()).to_string(),
            7 => (self.take(1)[0] == 1).to_string(),
            8 => self.string(),
            9 => {
                let (kind, count) = (self.u32(), self.u64());
                let values: Vec<String> = (0..count).map(|_| self.value(kind)).collect();
                values.join("\n")
            }
            _ => panic!("kind {kind}"),
        }
    }
}

fn parse(file: &[u8]) -> Parsed {
    let mut reader = Reader(file);
    assert_eq!((reader.take(4), reader.u32()), (&b"GGUF"[..], 3));
    let (tensors, values) = (reader.u64(), reader.u64());
    let pair = |reader: &mut Reader| {
        let (key, kind) = (reader.string(), reader.u32());
        (key, reader.value(kind))
    };
    let values: BTreeMap<String, String> = (0..values).map(|_| pair(&mut reader)).collect();
    let entry = |reader: &mut Reader| {
        let (name, dims) = (reader.string(), reader.u32());
        let sizes: Vec<u64> = (0..dims).map(|_| reader.u64()).collect();
        (name, sizes, reader.u32(), reader.u64() as usize)
    };
    let entries: Vec<_> = (0..tensors).map(|_| entry(&mut reader)).collect();
    let data = &file[(file.len() - reader.0.len()).next_multiple_of(32)..];
    let tensors = entries.into_iter().map(|(name, sizes, kind, offset)| {
        assert_eq!(offset % 32, 0);
        let (block, bytes) = match kind {
            0 => (1, 4),
            1 | 30 => (1, 2),
            8 => (32, 34),
            _ => panic!("{name} is of kind {kind}"),
        };
        assert_eq!(sizes[0] % block, 0, "{name}");
        let length = (sizes.iter().product::<u64>() / block * bytes) as usize;
        (name, (kind, sizes, data[offset..offset + length].to_vec()))
    });
    Parsed { values, tensors: tensors.collect() }
}

fn model(case: &str, dtype: Option<ExportDtype>) -> Parsed {
    let (model, adapter) = (fixture(case, "model"), fixture(case, "adapter"));
    let files = exported(&model, Some(&adapter), &options(Format::Gguf, dtype)).unwrap().files;
    parse(&files["model.gguf"])
}

#[test]
fn blocks_of_8_bits_are_those_of_gguf_py() {
    let expected: Value = serde_json::from_slice(&std::fs::read("fixtures/llama.json").unwrap()).unwrap();
    for case in ["models/mistral_f16_window", "models/sharded_f16_dense"] {
        let parsed = model(case, Some(ExportDtype::Q8_0));
        for (hf, gguf) in [
            ("model.layers.0.mlp.gate_proj.weight", "blk.0.ffn_gate.weight"),
            ("model.layers.1.self_attn.v_proj.weight", "blk.1.attn_v.weight"),
            ("model.embed_tokens.weight", "token_embd.weight"),
        ] {
            let (kind, _, bytes) = &parsed.tensors[gguf];
            assert_eq!(*kind, 8);
            assert_eq!(format!("{:032x}", xxh3_128(bytes)), expected["q8_0"][case][hf], "{case}: {gguf}");
        }
    }
    let parsed = model("models/mistral_f16_window", Some(ExportDtype::Q8_0));
    // 32 does not divide the 120 values of its rows.
    assert_eq!(parsed.tensors["blk.0.attn_output.weight"].0, 1);
    assert_eq!(parsed.tensors["blk.0.attn_norm.weight"].0, 0);
    assert_eq!(parsed.values["general.file_type"], "7");
}

#[test]
fn keys_are_those_of_the_converter() {
    let parsed = model("models/llama3_bf16_untied", None);
    for (key, value) in [
        ("general.architecture", "llama"),
        ("general.type", "model"),
        ("general.file_type", "32"),
        ("llama.block_count", "2"),
        ("llama.embedding_length", "72"),
        ("llama.feed_forward_length", "100"),
        ("llama.attention.head_count", "6"),
        ("llama.attention.head_count_kv", "2"),
        ("llama.rope.dimension_count", "12"),
        ("llama.vocab_size", "384"),
        ("tokenizer.ggml.model", "gpt2"),
        ("tokenizer.ggml.pre", "dbrx"),
        ("tokenizer.ggml.bos_token_id", "0"),
        ("tokenizer.ggml.eos_token_id", "4"),
        ("tokenizer.ggml.add_bos_token", "true"),
        ("tokenizer.ggml.add_eos_token", "false"),
    ] {
        assert_eq!(parsed.values[key], value, "{key}");
    }
    assert!(parsed.values["tokenizer.chat_template"].contains("<|start_header_id|>"));
    assert_eq!(parsed.tensors["rope_freqs.weight"].1, [6]);
    assert_eq!(parsed.tensors["output.weight"].1, [72, 384]);
    let tied = model("models/smollm2_f16_tied", None);
    assert!(!tied.tensors.contains_key("output.weight"));
}

#[test]
fn an_adapter_says_its_alpha_as_llama_cpp_divides_it() {
    let case = "models/llama3_bf16_untied";
    let (model, adapter) = (fixture(case, "model"), fixture(case, "adapter"));
    let files = exported(&model, Some(&adapter), &options(Format::LoraGguf, None)).unwrap().files;
    let parsed = parse(&files["adapter.gguf"]);
    assert_eq!(parsed.values["general.type"], "adapter");
    assert_eq!(parsed.values["adapter.type"], "lora");
    // r 8 and alpha 8, by rsLoRA.
    assert_eq!(
        parsed.values["adapter.lora.alpha"],
        (8.0 * 8_f64.sqrt()).to_string().parse::<f32>().unwrap().to_string()
    );
    assert_eq!(parsed.tensors["blk.1.attn_q.weight.lora_a"].1, [72, 8]);
    assert_eq!(parsed.tensors["blk.1.attn_q.weight.lora_b"].1, [8, 72]);
    let modelfile = String::from_utf8(files["Modelfile"].clone()).unwrap();
    assert!(modelfile.contains("ADAPTER ./adapter.gguf\n"), "{modelfile}");
}

#[test]
fn what_llama_cpp_would_compute_otherwise_is_refused() {
    for (case, what) in [
        ("families/llama_f32_dynamic", "rope_type \"dynamic\""),
        ("families/llama_bf16_yarn", "yarn with truncate false"),
        ("families/gemma3text_f32_untied", "at equal distances; layer 1 is not"),
        ("families/qwen3_f32_biases", "model.layers.0.self_attn.o_proj.bias"),
        ("families/smollm3_f32_interval", "layer 1 differs"),
    ] {
        let error = exported(&fixture(case, "model"), None, &options(Format::Gguf, None)).err().unwrap();
        assert_eq!(error.code, Code::UnsupportedModel, "{case}: {error}");
        assert!(error.message.contains(what), "{case}: {error}");
    }
}

#[test]
fn a_tokenizer_that_llama_cpp_would_cut_otherwise_is_refused() {
    let mut model = copy_of(&fixture("models/smollm2_f16_tied", "model"));
    let mut tokenizer: Value = serde_json::from_slice(&model.files["tokenizer.json"]).unwrap();
    tokenizer["pre_tokenizer"]["pretokenizers"][0] = serde_json::json!(
        {"type": "Split", "pattern": {"Regex": "\\d{1,2}"}, "behavior": "Isolated", "invert": false}
    );
    model.files.insert("tokenizer.json".to_owned(), tokenizer.to_string().into_bytes());
    let error = exported(&model, None, &options(Format::Gguf, None)).err().unwrap();
    assert_eq!(error.code, Code::UnsupportedModel, "{error}");
    assert!(error.message.contains("pre_tokenizer"), "{error}");
    exported(&model, None, &options(Format::Safetensors, None)).unwrap();
}
