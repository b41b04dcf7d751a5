//! LoRA adapters (Hu et al. 2021, <https://arxiv.org/abs/2106.09685>): their options, their first
//! values, and the files that Hugging Face PEFT reads and writes.

mod blend;
mod config;
mod init;
mod patterns;
mod peft;
mod saved;
mod targets;
mod tensors;

pub use blend::{BlendPart, blend};
pub use config::{InitLoraWeights, LoraConfig};
pub use init::LoraRng;
pub use peft::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, Factor, PeftAdapter, load_peft, save_peft};
pub use saved::{Adaptable, BaseTensor, Bias};
pub use targets::TargetModules;
pub use tensors::{AdapterTensor, factor_name, magnitude_name};

use std::ops::Range;

use crate::files::PIECE_BYTES;

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

/// One of the two matrices of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    A,
    B,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::A, Side::B];
}

impl LoraModule {
    /// Rows and columns of a matrix of rank `r`.
    pub fn shape(&self, side: Side, r: usize) -> [usize; 2] {
        match side {
            Side::A => [r, self.in_features],
            Side::B => [self.out_features, r],
        }
    }
}

/// Gives rows of a module's matrix, row-major.
pub type FirstRows<'a> = dyn FnMut(&LoraModule, Side, Range<usize>) -> Vec<f32> + 'a;

/// What an adapter begins with.
pub enum FirstValues<'a> {
    /// The factors, beside a model that is as it was.
    Factors(&'a mut FirstRows<'a>),
    /// All that another adapter has.
    Of(&'a PeftAdapter),
}

/// The rows of a matrix that pass the host together: [`PIECE_BYTES`] of them at most, and one at least. Columns are
/// counted as the GPU has them, in blocks of 8.
pub fn row_pieces(rows: usize, cols: usize) -> impl Iterator<Item = Range<usize>> {
    let per_piece = (PIECE_BYTES / (4 * cols.next_multiple_of(8))).max(1);
    (0..rows).step_by(per_piece).map(move |first| first..rows.min(first + per_piece))
}

impl LoraWeights {
    /// Rows of one of the matrices.
    pub fn rows(&self, module: &LoraModule, side: Side, rows: Range<usize>) -> Vec<f32> {
        let (values, cols) = match side {
            Side::A => (&self.a, module.in_features),
            Side::B => (&self.b, self.b.len() / module.out_features),
        };
        values[rows.start * cols..rows.end * cols].to_vec()
    }
}
