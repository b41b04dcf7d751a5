//! The ways to train: what each adds to a model, and which values learn.

mod copies;
mod lora;

pub(super) use lora::LoraPanel;
pub use lora::{Lora, LoraFactor, lora_modules};

use self::copies::Copied;
use super::parameters::Parameters;
use super::weights::{Model, Slab};
use crate::adapter::{FirstRows, LoraConfig};
use crate::bail;
use crate::device::Store;
use crate::error::Result;
use crate::format::WeightFormat;
use crate::kernels::Recorder;
use crate::memory::Tensor;

/// What a run trains, and what of it the model's passes are recorded with.
pub struct Trained {
    pub parameters: Parameters,
    pub lora: Option<Lora>,
    /// The model with copies in the places of weights that learn.
    copied: Option<Model>,
    copies: Vec<Copied>,
}

/// What passes read of what learns, at other values of it.
pub struct Moved {
    pub lora: Option<Lora>,
    copied: Option<Model>,
}

impl Moved {
    /// The model that passes are recorded with, of which `base` is what was loaded.
    pub fn model<'a>(&'a self, base: &'a Model) -> &'a Model {
        self.copied.as_ref().unwrap_or(base)
    }
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
        lora.register(&mut parameters);
        Ok(Trained { parameters, lora: Some(lora), copied: None, copies: Vec::new() })
    }

    /// All weights of the model, as copies in f32.
    ///
    /// # Errors
    ///
    /// Code `bad-option` for weights that bitsandbytes quantised, which are not trained as transformers has it;
    /// `out-of-memory`.
    pub fn full(model: &Model, store: &mut Store) -> Result<Self> {
        use WeightFormat::{Fp4, Fp4Any, Int8, Nf4, Nf4Any};
        let formats = model.linear().map(|stacked| stacked.weight.format);
        let mut quantized = formats.filter(|format| matches!(format, Fp4 | Fp4Any | Int8 | Nf4 | Nf4Any));
        if let Some(format) = quantized.next() {
            bail!(
                BadOption,
                "train.finetuning_type is \"full\", but the model's weights are quantised to {}: load the model without \
                 load_in_4bit and load_in_8bit, or train an adapter with \"lora\"",
                format.name()
            );
        }
        let mut parameters = Parameters::default();
        let (copied, copies) = copies::copy_all(model, &mut parameters, store)?;
        Ok(Trained { parameters, lora: None, copied: Some(copied), copies })
    }

    /// What passes read of what learns, with `tensors`, one for each segment of the parameters, in the place of these.
    pub fn moved(&self, tensors: &[Tensor]) -> Moved {
        let place = |tensor: Tensor| self.parameters.beside(tensor, tensors).unwrap_or(tensor);
        let mut copied = self.copied.clone();
        if let Some(model) = &mut copied {
            model.each_tensor(&mut |tensor| *tensor = place(*tensor));
        }
        Moved { lora: self.lora.as_ref().map(|lora| lora.moved(place)), copied }
    }

    /// The model that passes are recorded with, of which `base` is what was loaded.
    pub fn model<'a>(&'a self, base: &'a Model) -> &'a Model {
        self.copied.as_ref().unwrap_or(base)
    }

    /// Whether weights of the model learn, rather than what is beside them.
    pub fn has_copies(&self) -> bool {
        self.copied.is_some()
    }

    /// Whether the embedding learns, whose gradient wants the rows by token id.
    pub fn embedding_learns(&self, base: &Model) -> bool {
        self.learns(&self.model(base).embedding)
    }

    /// Whether the head learns: the gradient of the logits is then wanted whole.
    pub fn head_learns(&self, base: &Model) -> bool {
        self.learns(&self.model(base).head)
    }

    fn learns(&self, slabs: &[Slab]) -> bool {
        slabs.iter().any(|slab| self.parameters.gradient(slab.weight.values).is_some())
    }

    /// Records what gives copies their first values.
    pub fn record_start(&self, rec: &mut Recorder) {
        self.copies.iter().for_each(|copied| copied.record(rec));
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
