//! LoRA adapters (Hu et al. 2021, <https://arxiv.org/abs/2106.09685>): their options, their first
//! values, and the files that Hugging Face PEFT reads and writes.

mod config;
mod init;
mod peft;

pub use config::{LoraConfig, TargetModules};
pub use init::{LoraRng, init_lora};
pub use peft::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, PeftAdapter, load_peft, save_peft};

/// A linear layer of the base model that LoRA may adapt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoraModule {
    /// Its path in the model, e.g. `model.layers.0.self_attn.q_proj`.
    pub path: String,
    pub in_features: usize,
    pub out_features: usize,
}

/// The pair of matrices of one module: its output gains `scale * B (A x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraWeights {
    /// `lora_A`, `[r, in_features]` row-major.
    pub a: Vec<f32>,
    /// `lora_B`, `[out_features, r]` row-major.
    pub b: Vec<f32>,
}
