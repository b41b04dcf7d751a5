//! The decoder: its architecture, its weights on the GPU, its forward and backward passes.

mod architecture;
mod compare;
pub mod embedding;
pub mod head;
mod layer;
mod load;
mod loss;
mod names;
mod parameters;
mod pass;
mod place;
mod product;
mod shapes;
mod skip;
mod trainable;
mod weights;

pub use architecture::{
    Architecture, Attention, ByGroup, GateUpColumns, Group, Layer, Module, QkvColumns, Rope, RopeScaling,
    View, Width, model_types,
};
pub use compare::are_rows;
pub use layer::{Backward, Keys, LayerActivations};
pub use load::{LoadOptions, LoadProgress};
pub use loss::{Loss, LossInputs, LossPlan};
pub use names::{EMBEDDING, FINAL_NORM, HEAD, LAYERS, settle};
pub use parameters::{Entry, EntryPlace, Parameters, Part as ParameterPart, Reader, Run, Segment};
pub use pass::{Pass, RopeTables, Rows, RowsSeen};
pub use place::{NF4_ZERO, padded_codes};
pub use skip::SkipModules;
pub use trainable::{Lora, LoraFactor, Moved, Trained, adaptable, lora_modules, peft_name};
pub use weights::{Bias, Model, Part, Slab, Stacked, Stage};
