//! The work that all peers do, number for number: weights, adapter and tokens from one random stream.
//!
//! The stream is mulberry32 from seed 1. Normal values are Box and Muller's in f64, rounded to f32, so
//! that peers in any language start from the same weights and must show the same losses.

use serde_json::{Map, json};
use tabtune::adapter::LoraWeights;
use tabtune::bail;
use tabtune::error::Result;
use tabtune::files::Files;
use tabtune::model::lora_modules;

use crate::shapes::Shape;

/// LoRA's rank and alpha.
pub const RANK: usize = 8;
pub const ALPHA: f64 = 16.0;
pub const LEARNING_RATE: f64 = 2e-4;
/// Two to warm up and five that count.
pub const STEPS: usize = 7;

const SEED: u32 = 1;
const WEIGHT_STD: f64 = 0.02;

/// A checkpoint in f32, the adapter's start, and the rows of a step.
pub struct Work {
    pub files: MemoryFiles,
    /// By module path.
    pub lora: Vec<(String, LoraWeights)>,
    /// `batch` rows of `seq + 1` token ids, of which each but the first is predicted.
    pub rows: Vec<Vec<u32>>,
}

impl Work {
    /// Draws the embedding, then for each layer and projection the weight [out, in] and LoRA's A
    /// [rank, in], then the tokens. LoRA's B is zero, and every norm's weight is one.
    pub fn new(shape: &Shape) -> Result<Self> {
        let architecture = shape.architecture()?;
        let mut stream = Mulberry32(SEED);
        let mut checkpoint = CheckpointWriter::default();
        checkpoint.add("model.embed_tokens.weight", &[shape.vocab, shape.hidden], || stream.normal());
        let mut lora = Vec::new();
        for module in lora_modules(&architecture) {
            let (outputs, inputs) = (module.out_features, module.in_features);
            checkpoint.add(&format!("{}.weight", module.path), &[outputs, inputs], || stream.normal());
            let a = (0..RANK * inputs).map(|_| stream.normal()).collect();
            lora.push((module.path, LoraWeights { a, b: vec![0.0; outputs * RANK] }));
        }
        let rows = (0..shape.batch)
            .map(|_| (0..shape.seq + 1).map(|_| stream.below(shape.vocab)).collect())
            .collect();
        for (name, of) in architecture.checkpoint_tensors().iter().filter(|(_, of)| of.len() == 1) {
            checkpoint.add(name, of, || 1.0);
        }
        let files = MemoryFiles { config: shape.config_json().into_bytes(), weights: checkpoint.finish() };
        Ok(Work { files, lora, rows })
    }
}

/// Tommy Ettinger's mulberry32.
struct Mulberry32(u32);

impl Mulberry32 {
    /// Uniform in [0, 1), a multiple of 2⁻³².
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x6d2b_79f5);
        let mut t = (self.0 ^ (self.0 >> 15)).wrapping_mul(1 | self.0);
        t = t.wrapping_add((t ^ (t >> 7)).wrapping_mul(61 | t)) ^ t;
        f64::from(t ^ (t >> 14)) / 4_294_967_296.0
    }

    fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let turn = std::f64::consts::TAU * self.uniform();
        (WEIGHT_STD * radius * turn.cos()) as f32
    }

    fn below(&mut self, bound: usize) -> u32 {
        (self.uniform() * bound as f64) as u32
    }
}

/// A safetensors file in f32 in the making.
#[derive(Default)]
struct CheckpointWriter {
    header: Map<String, serde_json::Value>,
    data: Vec<u8>,
}

impl CheckpointWriter {
    fn add(&mut self, name: &str, shape: &[usize], mut value: impl FnMut() -> f32) {
        let start = self.data.len();
        for _ in 0..shape.iter().product() {
            self.data.extend_from_slice(&value().to_le_bytes());
        }
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, self.data.len()]});
        self.header.insert(name.to_owned(), entry);
    }

    /// The bytes of the file: the header's length, the header, the values.
    fn finish(self) -> Vec<u8> {
        let header = serde_json::Value::Object(self.header).to_string();
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.extend_from_slice(&self.data);
        file
    }
}

/// A model's folder in memory.
pub struct MemoryFiles {
    config: Vec<u8>,
    weights: Vec<u8>,
}

impl MemoryFiles {
    fn bytes(&self, name: &str) -> Option<&[u8]> {
        match name {
            "config.json" => Some(&self.config),
            "model.safetensors" => Some(&self.weights),
            _ => None,
        }
    }
}

#[async_trait::async_trait(?Send)]
impl Files for MemoryFiles {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.bytes(name).map(|bytes| bytes.len() as u64))
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        match self.bytes(name).and_then(|bytes| bytes.get(start as usize..)?.get(..len)) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => bail!(Io, "{name} has no {len} bytes at {start}"),
        }
    }
}
