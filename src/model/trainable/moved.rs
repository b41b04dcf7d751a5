//! Passes over other values of what learns: those of one stage of a pass at a time, so that only these need to exist.

use std::collections::HashMap;

use super::Lora;
use crate::memory::Tensor;
use crate::model::weights::{Model, Stage};

/// The handles that a pass is recorded with, of which those of what learns come to say other places, stage by stage.
pub struct Moved {
    pub lora: Option<Lora>,
    /// The model with what learns in its place, where that is not what was loaded.
    model: Option<Model>,
    /// Of all stages so far: where the values of a tensor are read.
    places: HashMap<Tensor, Tensor>,
}

impl Moved {
    pub(super) fn new(lora: Option<Lora>, model: Option<Model>) -> Self {
        Moved { lora, model, places: HashMap::new() }
    }

    /// The model that passes are recorded with, of which `base` is what was loaded.
    pub fn model<'a>(&'a self, base: &'a Model) -> &'a Model {
        self.model.as_ref().unwrap_or(base)
    }

    /// What a stage reads and no stage before it has read: a tied head finds its values where the embedding did.
    pub fn tensors(&mut self, stage: Stage) -> Vec<Tensor> {
        let mut tensors = Vec::new();
        if let Some(model) = &mut self.model {
            model.each_tensor(stage, &mut |tensor| tensors.push(*tensor));
        }
        if let (Some(lora), Stage::Layer(layer)) = (&self.lora, stage) {
            tensors.extend(lora.tensors_of(layer));
        }
        tensors.retain(|tensor| !self.places.contains_key(tensor));
        tensors
    }

    /// Has a stage read the values of tensors, the keys, at other places.
    pub fn place(&mut self, stage: Stage, places: HashMap<Tensor, Tensor>) {
        if let Some(lora) = &mut self.lora {
            lora.read_elsewhere(&places);
        }
        self.places.extend(places);
        if let Some(model) = &mut self.model {
            let place = |tensor: Tensor| self.places.get(&tensor).copied().unwrap_or(tensor);
            model.each_tensor(stage, &mut |tensor| *tensor = place(*tensor));
        }
    }
}
