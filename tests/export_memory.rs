//! The memory that an export takes, counted in every allocation. It is alone in its program, since it counts for all.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use pollster::block_on;
use serde_json::json;
use tabtune::error::Result;
use tabtune::export::{Change, ExportDtype, ExportOptions, Format, Original, Sink, export};
use tabtune::files::{Files, PIECE_BYTES};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is done by the system's allocator; only sizes are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's own promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A model of one layer whose weights are all 0, made up as they are read.
struct MadeUp {
    config: Vec<u8>,
    tokenizer: Vec<u8>,
    header: Vec<u8>,
    bytes: u64,
}

const HIDDEN: usize = 512;
const FFN: usize = 12_288;
const VOCAB: usize = 6_000;

impl MadeUp {
    fn new() -> Self {
        let config = json!({
            "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": FFN, "num_hidden_layers": 1,
            "num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": VOCAB, "tie_word_embeddings": true,
            "rms_norm_eps": 1e-5, "max_position_embeddings": 512, "rope_theta": 1e4, "torch_dtype": "float32",
        });
        let mut entries = serde_json::Map::new();
        let mut end = 0;
        let mut add = |name: &str, shape: &[usize]| {
            let start = end;
            end += 4 * shape.iter().product::<usize>();
            entries.insert(
                name.to_owned(),
                json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]}),
            );
        };
        add("model.embed_tokens.weight", &[VOCAB, HIDDEN]);
        for name in ["q", "k", "v", "o"] {
            add(&format!("model.layers.0.self_attn.{name}_proj.weight"), &[HIDDEN, HIDDEN]);
        }
        for name in ["gate", "up"] {
            add(&format!("model.layers.0.mlp.{name}_proj.weight"), &[FFN, HIDDEN]);
        }
        add("model.layers.0.mlp.down_proj.weight", &[HIDDEN, FFN]);
        for name in ["layers.0.input_layernorm", "layers.0.post_attention_layernorm", "norm"] {
            add(&format!("model.{name}.weight"), &[HIDDEN]);
        }
        let json = serde_json::Value::Object(entries).to_string();
        let header = [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat();
        let tokenizer = json!({
            "version": "1.0", "added_tokens": [],
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
        });
        MadeUp {
            config: config.to_string().into_bytes(),
            tokenizer: tokenizer.to_string().into_bytes(),
            bytes: (header.len() + end) as u64,
            header,
        }
    }
}

#[async_trait::async_trait(?Send)]
impl Files for MadeUp {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(match name {
            "config.json" => Some(self.config.len() as u64),
            "tokenizer.json" => Some(self.tokenizer.len() as u64),
            "model.safetensors" => Some(self.bytes),
            _ => None,
        })
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        let known = match name {
            "config.json" => &self.config,
            "tokenizer.json" => &self.tokenizer,
            _ => &self.header,
        };
        let mut bytes = vec![0; len];
        let known = &known[known.len().min(start as usize)..];
        let count = len.min(known.len());
        bytes[..count].copy_from_slice(&known[..count]);
        Ok(bytes)
    }
}

/// Counts what it is given.
#[derive(Default)]
struct Nowhere {
    bytes: u64,
}

#[async_trait::async_trait(?Send)]
impl Sink for Nowhere {
    async fn create(&mut self, _name: &str, _bytes: u64) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, piece: &[u8]) -> Result<()> {
        assert!(piece.len() <= PIECE_BYTES);
        self.bytes += piece.len() as u64;
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn an_export_never_holds_more_than_a_few_pieces() {
    let model = MadeUp::new();
    for (format, dtype) in [(Format::Safetensors, ExportDtype::F32), (Format::Gguf, ExportDtype::Q8_0)] {
        let mut sink = Nowhere::default();
        let before = NOW.load(Relaxed);
        PEAK.store(before, Relaxed);
        block_on(async {
            let original = Original::open(&model).await.unwrap();
            let options = ExportOptions::new(format, Some(dtype)).unwrap();
            export(&original, Change::None, &options, &mut sink, &mut |_| true).await.unwrap();
        });
        let peak = PEAK.load(Relaxed) - before;
        assert!(sink.bytes > 20_000_000, "{} bytes were written", sink.bytes);
        assert!(peak < 4 * PIECE_BYTES, "{format:?} {dtype:?} took {peak} bytes");
    }
}
