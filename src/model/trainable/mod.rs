//! The ways to train: what each adds to a model, and which values learn.

mod lora;

pub(super) use lora::LoraPanel;
pub use lora::{Lora, LoraFactor, lora_modules};

use super::parameters::Parameters;
use super::weights::Model;
use crate::adapter::{FirstRows, LoraConfig};
use crate::device::Store;
use crate::error::Result;

/// What a run trains, and what of it the model's passes are recorded with.
pub struct Trained {
    pub parameters: Parameters,
    pub lora: Option<Lora>,
}

impl Trained {
    /// An adapter that learns.
    ///
    /// # Errors
    ///
    /// As [`Lora::new`].
    pub fn lora(model: &Model, config: LoraConfig, store: &mut Store) -> Result<Self> {
        let lora = Lora::new(model, config, store)?;
        let mut parameters = Parameters::default();
        lora.register(&mut parameters, store)?;
        Ok(Trained { parameters, lora: Some(lora) })
    }

    /// Writes the first values of the adapter, as [`Lora::write`] does.
    pub fn write(&self, store: &Store, initial: &mut FirstRows<'_>) {
        if let Some(lora) = &self.lora {
            lora.write(store, initial);
        }
    }

    /// The chance that an input of the adapter is dropped in training.
    pub fn dropout(&self) -> f64 {
        self.lora.as_ref().map_or(0.0, |lora| lora.config.lora_dropout)
    }
}
