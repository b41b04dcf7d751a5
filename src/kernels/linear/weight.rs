//! A frozen weight: its format, where it lies, what it is to the model.

use serde::{Deserialize, Serialize};

use crate::memory::Tensor;

/// How a frozen weight lies on the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightFormat {
    /// NF4 whose rows hold whole blocks of 64.
    Nf4,
    /// NF4 whose blocks run on from row to row; never stacked.
    Nf4Any,
    F32,
    F16,
    Bf16,
}

impl WeightFormat {
    pub const ALL: [WeightFormat; 5] =
        [WeightFormat::Nf4, WeightFormat::Nf4Any, WeightFormat::F32, WeightFormat::F16, WeightFormat::Bf16];

    /// The name of the shader variant.
    pub const fn name(self) -> &'static str {
        match self {
            WeightFormat::Nf4 => "nf4",
            WeightFormat::Nf4Any => "nf4_any",
            WeightFormat::F32 => "f32",
            WeightFormat::F16 => "f16",
            WeightFormat::Bf16 => "bf16",
        }
    }

    /// The 4-byte words of a row of `depth` values (a multiple of 8).
    pub const fn row_words(self, depth: usize) -> usize {
        match self {
            WeightFormat::Nf4 | WeightFormat::Nf4Any => depth / 8,
            WeightFormat::F32 => depth,
            WeightFormat::F16 | WeightFormat::Bf16 => depth / 2,
        }
    }
}

/// What a weight is to the model, which says what is known of its products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Stacked modules of a layer.
    Layer,
    /// The slab of a head that has `cols` columns, or some of them.
    Head { cols: u32 },
    /// Nothing: a factor of LoRA, or a weight by itself. Its products take the target's default tile.
    Alone,
}

/// A frozen weight on the GPU: its values or codes, and the scales of its blocks.
#[derive(Clone, Copy, Debug)]
pub struct Weight {
    pub format: WeightFormat,
    pub role: Role,
    pub values: Tensor,
    /// One f32 for each block of 64 in NF4; otherwise any tensor.
    pub scales: Tensor,
}

impl Weight {
    /// A weight by itself.
    pub fn new(format: WeightFormat, values: Tensor, scales: Tensor) -> Self {
        Weight { format, role: Role::Alone, values, scales }
    }

    /// A dense f32 matrix by itself.
    pub fn f32(values: Tensor) -> Self {
        Weight::new(WeightFormat::F32, values, values)
    }

    pub(super) fn stored(&self) -> Stored {
        Stored { format: self.format, role: self.role }
    }
}

/// What a call says of its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub format: WeightFormat,
    pub role: Role,
}
