//! What the layers of a pass are recorded with: the model, its adapter and the tokens.

use super::parameters::Parameters;
use super::trainable::Lora;
use super::weights::Model;
use crate::kernels::Recorder;
use crate::memory::Tensor;

/// The tokens of a pass and where they stand. All have one entry for each of the M rows.
#[derive(Clone, Debug)]
pub struct Rows {
    /// M, a multiple of 8 in training.
    pub count: usize,
    /// Token ids, u32.
    pub ids: Tensor,
    /// Position of each token in its text, u32.
    pub positions: Tensor,
    /// What each row sees, by [`Architecture::views`](super::Architecture::views).
    pub views: Vec<RowsSeen>,
    /// By [`Architecture::ropes`](super::Architecture::ropes).
    pub ropes: Vec<RopeTables>,
}

/// Which keys each row sees.
#[derive(Clone, Copy, Debug)]
pub struct RowsSeen {
    /// First key and end of keys that each query sees, two u32 a row.
    pub spans: Tensor,
    /// End of the queries that see each key, u32. Only backward reads it.
    pub last: Tensor,
}

/// Cosines and sines, [positions, rotary_dim / 2].
#[derive(Clone, Copy, Debug)]
pub struct RopeTables {
    pub cos: Tensor,
    pub sin: Tensor,
}

/// What the layers of a pass are recorded with.
pub struct Pass<'a> {
    pub model: &'a Model,
    pub lora: Option<&'a Lora>,
    /// What learns, where backward is recorded.
    pub parameters: Option<&'a Parameters>,
    pub rows: &'a Rows,
    /// Multiplies LoRA's part beside its own scale; 0 switches the adapter off.
    pub lora_scale: f32,
    /// The chance of a dropped LoRA input, and the tensor holding the seed.
    pub dropout: Option<(f64, Tensor)>,
}

impl Pass<'_> {
    /// Whether there is anything to do before what learns is read.
    pub fn has_beginning(&self) -> bool {
        self.lora.is_some_and(|lora| lora.config.use_dora)
    }

    /// Records what every forward pass begins with: the norms that DoRA divides by, as what learns is now.
    pub fn begin(&self, rec: &mut Recorder) {
        if let Some(lora) = self.lora {
            lora.record_norms(rec, self.model, self.lora_scale);
        }
    }

    /// Records the same for a layer alone, where what learns is there layer by layer.
    pub fn begin_layer(&self, rec: &mut Recorder, layer: usize) {
        if let Some(lora) = self.lora {
            lora.record_norms_of(rec, self.model, layer, self.lora_scale);
        }
    }

    /// Where the gradient of a kept tensor is added up; `None` for what does not learn.
    pub(super) fn gradient(&self, param: Tensor) -> Option<Tensor> {
        self.parameters?.gradient(param)
    }

    /// A tensor of `width` values a row.
    pub(super) fn activation(&self, rec: &mut Recorder, width: usize) -> Tensor {
        rec.transient(self.rows.count * width)
    }
}
