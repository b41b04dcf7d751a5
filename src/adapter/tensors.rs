//! The tensors of an adapter's file.

use super::{Adaptable, LoraConfig, LoraModule, Side};
use crate::error::Result;

/// A tensor of an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterTensor {
    /// In the file, without what PEFT puts before it, e.g. `model.layers.0.self_attn.q_proj.lora_A.weight`.
    pub name: String,
    pub shape: Vec<usize>,
    /// The module and the side, of one of LoRA's matrices.
    pub factor: Option<(LoraModule, Side)>,
}

impl AdapterTensor {
    /// Rows and columns; the values of a vector are rows.
    pub fn size(&self) -> [usize; 2] {
        [self.shape[0], self.shape[1..].iter().product()]
    }
}

impl LoraConfig {
    /// All that an adapter of a model has.
    ///
    /// # Errors
    ///
    /// As [`LoraConfig::resolve`] and [`LoraConfig::saved`].
    pub fn tensors(&self, model: &Adaptable) -> Result<Vec<AdapterTensor>> {
        let mut tensors = Vec::new();
        for module in self.resolve(&model.linears)? {
            for side in Side::BOTH {
                tensors.push(AdapterTensor {
                    name: factor_name(&module.path, side),
                    shape: module.shape(side, self.rank_of(module)).to_vec(),
                    factor: Some((module.clone(), side)),
                });
            }
            if self.use_dora {
                let name = magnitude_name(&module.path);
                tensors.push(AdapterTensor { name, shape: vec![module.out_features], factor: None });
            }
        }
        for (tensor, name) in self.saved(model)? {
            tensors.push(AdapterTensor { name, shape: tensor.shape.clone(), factor: None });
        }
        Ok(tensors)
    }
}

/// PEFT's name of a module's matrix in the model that it adapts.
pub fn factor_name(path: &str, side: Side) -> String {
    format!("{path}.lora_{side:?}.weight")
}

/// PEFT's name of a module's magnitudes.
pub fn magnitude_name(path: &str) -> String {
    format!("{path}.lora_magnitude_vector")
}
