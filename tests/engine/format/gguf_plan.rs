//! A run on a large GGUF is planned by its header alone.

use std::cell::Cell;
use std::rc::Rc;

use pollster::block_on;
use serde_json::json;
use tabtune::cpu::Cpu;
use tabtune::data::kv::MemoryKv;
use tabtune::error::{Code, Error, Result};
use tabtune::files::Files;
use tabtune::format::gguf::GgmlType;
use tabtune::session::Session;

use super::gguf::{GgufFile, Tensor, array, f32_value, string, text, u32_value};

const HIDDEN: u64 = 4096;
const WIDE: u64 = 11008;
const LAYERS: u64 = 32;
const VOCAB: u64 = 32000;

/// Letters of either case end the name of a GGUF.
const NAME: &str = "Model.GGUF";

/// A GGUF that is as long as its header says, of which only the header is there.
struct HeaderOf {
    header: Vec<u8>,
    bytes: u64,
    /// Bytes that were read.
    read: Cell<u64>,
}

#[async_trait::async_trait(?Send)]
impl Files for HeaderOf {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok((name == NAME).then_some(self.bytes))
    }

    fn gguf(&self) -> Option<String> {
        Some(NAME.to_owned())
    }

    /// Readers take pieces, the last of which may pass the header's end.
    async fn read(&self, _: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        if start >= self.header.len() as u64 {
            return Err(Error::new(Code::Io, "what lies behind the header is not there"));
        }
        self.read.set(self.read.get() + len as u64);
        let mut bytes = self.header[start as usize..].to_vec();
        bytes.resize(len, 0);
        Ok(bytes)
    }
}

/// Llama 2 7B as llama.cpp quantises it to Q4_K_M: half of the values and of the ways down in Q6_K, as is the head.
fn llama_2_7b() -> HeaderOf {
    let mut file = GgufFile::new();
    file.tensors.clear();
    let key = |name: &str| format!("llama.{name}");
    for (name, value) in [
        ("block_count", LAYERS),
        ("context_length", 4096),
        ("embedding_length", HIDDEN),
        ("feed_forward_length", WIDE),
        ("attention.head_count", 32),
        ("vocab_size", VOCAB),
    ] {
        file = file.with(&key(name), u32_value(value as u32));
    }
    file = file.with(&key("attention.layer_norm_rms_epsilon"), f32_value(1e-5));
    let tokens: Vec<u8> = (0..VOCAB).flat_map(|id| string(&format!("<token {id}>"))).collect();
    file = file
        .with("tokenizer.ggml.model", text("llama"))
        .with("tokenizer.ggml.tokens", array(8, VOCAB, &tokens))
        .with("tokenizer.ggml.scores", array(6, VOCAB, &vec![0; 4 * VOCAB as usize]));
    let mut end = 0;
    let mut add = |name: String, sizes: &[u64], kind: GgmlType| {
        file.tensors.push(Tensor { name, sizes: sizes.to_vec(), kind: kind.number(), offset: end });
        let values: u64 = sizes.iter().product();
        end += values / kind.block_values() as u64 * kind.block_bytes() as u64;
    };
    let (few, many) = (GgmlType::Q4_K, GgmlType::Q6_K);
    add("token_embd.weight".to_owned(), &[HIDDEN, VOCAB], few);
    add("output_norm.weight".to_owned(), &[HIDDEN], GgmlType::F32);
    add("output.weight".to_owned(), &[HIDDEN, VOCAB], many);
    for layer in 0..LAYERS {
        let some = if layer % 2 == 0 { many } else { few };
        let mut add =
            |name: &str, sizes: &[u64], kind| add(format!("blk.{layer}.{name}.weight"), sizes, kind);
        for norm in ["attn_norm", "ffn_norm"] {
            add(norm, &[HIDDEN], GgmlType::F32);
        }
        for (name, kind) in [("attn_q", few), ("attn_k", few), ("attn_v", some), ("attn_output", few)] {
            add(name, &[HIDDEN, HIDDEN], kind);
        }
        for (name, sizes, kind) in [
            ("ffn_gate", [HIDDEN, WIDE], few),
            ("ffn_up", [HIDDEN, WIDE], few),
            ("ffn_down", [WIDE, HIDDEN], some),
        ] {
            add(name, &sizes, kind);
        }
    }
    file.data.clear();
    let header = file.bytes();
    let bytes = header.len() as u64 + end;
    HeaderOf { header, bytes, read: Cell::new(0) }
}

#[test]
fn a_gguf_of_seven_billion_parameters_is_planned_by_its_header() {
    let files = llama_2_7b();
    assert!((4_000_000_000..4_200_000_000).contains(&files.bytes), "{} bytes", files.bytes);
    let session = Session::on(Cpu::open(None).expect("threads can be started"), Rc::new(MemoryKv::default()));
    let began = std::time::Instant::now();
    let plan = block_on(session.estimate(
        &files,
        &json!({}),
        &json!({"r": 16, "target_modules": "all-linear"}),
        &json!({"max_length": 512, "per_device_train_batch_size": 1}),
    ));
    let (plan, took) = (plan.expect("a plan"), began.elapsed());
    let parts = plan.gpu_bytes;
    println!("{} bytes at most in {took:?}: {parts:?}", plan.peak_gpu_bytes);

    // Bits of a value: Q4_K keeps its bytes, and Q6_K's 210 for each 256 values are whole words here.
    let (of_q4_k, of_q6_k) = (4.5, 6.625);
    let square = (HIDDEN * HIDDEN) as f64;
    let wide = (HIDDEN * WIDE) as f64;
    let table = (HIDDEN * VOCAB) as f64;
    let half = LAYERS as f64 / 2.0 * (square + wide);
    let in_q6_k = table + half;
    let in_q4_k = table + half + LAYERS as f64 * (3.0 * square + 2.0 * wide);
    let norms = (4 * (2 * LAYERS + 1) * HIDDEN) as f64;
    let weights = (in_q4_k * of_q4_k + in_q6_k * of_q6_k) / 8.0 + norms;
    // Parts begin at places that a binding can start at.
    let beside = parts.weights as f64 - weights;
    assert!(
        (0.0..256.0 * 1024.0).contains(&beside),
        "{} bytes of weights, {weights} expected",
        parts.weights
    );
    let sum = parts.weights + parts.adapter + parts.optimizer + parts.activations + parts.other;
    assert_eq!(plan.peak_gpu_bytes, sum);
    assert!(plan.peak_gpu_bytes < 6_000_000_000, "{}", plan.peak_gpu_bytes);
    assert!(files.read.get() < 4 * files.header.len() as u64 + (8 << 20), "{} bytes read", files.read.get());
}
