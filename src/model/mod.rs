//! The decoder: its configuration, its weights on the GPU, its forward and backward passes.

mod compare;
mod config;
mod decoder;
pub mod embedding;
pub mod head;
mod layout;
mod load;
mod lora;
mod lora_rows;
mod loss;
mod names;
pub mod tiles;

pub use compare::are_rows;
pub use config::{Linear, ModelConfig, RopeScaling};
pub use decoder::{Backward, Decoder, Keys, LayerActivations, Rows};
pub use layout::{GROUPS, Sizes};
pub use load::{LoadOptions, LoadProgress, Model, Slab, Stacked, padded_codes};
pub use lora::{Lora, LoraFactor, Segment, lora_modules};
pub use lora_rows::FactorReader;
pub use loss::{Loss, LossInputs, LossPlan};
