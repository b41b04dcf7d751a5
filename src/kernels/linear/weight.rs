//! A frozen weight: where it lies, what it is to the model.

use super::Params;
use crate::format::WeightFormat;
use crate::kernels::nested_scales;
use crate::kernels::recorder::Recorder;
use crate::memory::Tensor;

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
    /// What scales the values; in formats without scales any tensor.
    pub scales: Tensor,
    /// Whether the scales are those of NF4 in 8 bits, which products want in f32.
    pub is_nested: bool,
}

impl Weight {
    /// A weight by itself.
    pub fn new(format: WeightFormat, values: Tensor, scales: Tensor) -> Self {
        Weight { format, role: Role::Alone, values, scales, is_nested: false }
    }

    /// A dense f32 matrix by itself.
    pub fn f32(values: Tensor) -> Self {
        Weight::new(WeightFormat::F32, values, values)
    }

    /// Both of its tensors, whose place may change.
    pub(crate) fn each_tensor(&mut self, f: &mut impl FnMut(&mut Tensor)) {
        [&mut self.values, &mut self.scales].into_iter().for_each(f);
    }

    /// Of values and scales.
    pub fn bytes(&self) -> u64 {
        self.values.size() + if self.format.is_quantized() { self.scales.size() } else { 0 }
    }

    /// Records what a product of `params` reads for its scales.
    pub(in crate::kernels) fn scales_of(&self, rec: &mut Recorder, params: &Params) -> Tensor {
        if !self.is_nested {
            return self.scales;
        }
        let params = nested_scales::Params::new(params.cols as usize, params.depth as usize);
        let scales = rec.transient(params.scales());
        nested_scales::expand(rec, params, self.scales, scales);
        scales
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
