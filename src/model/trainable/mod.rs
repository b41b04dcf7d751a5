//! The ways to train: what each adds to a model, and which values learn.

mod copies;
mod dora;
mod lora;

pub(super) use lora::LoraPanel;
pub use lora::{Lora, LoraFactor, adaptable, lora_modules, peft_name};

use self::copies::{Choice, Copies};
use super::parameters::Parameters;
use super::weights::{Model, Slab};
use crate::adapter::{FirstValues, LoraConfig};
use crate::bail;
use crate::device::{Device, Store, Workspace};
use crate::error::Result;
use crate::format::WeightFormat;
use crate::kernels::Recorder;
use crate::kernels::lower::{Target, lower};
use crate::memory::Tensor;

/// What a run trains, and what of it the model's passes are recorded with.
pub struct Trained {
    pub parameters: Parameters,
    pub lora: Option<Lora>,
    /// Of weights that learn, or that an adapter has its own of.
    copies: Option<Copies>,
}

/// What passes read of what learns, at other values of it.
pub struct Moved {
    pub lora: Option<Lora>,
    model: Option<Model>,
}

impl Moved {
    /// The model that passes are recorded with, of which `base` is what was loaded.
    pub fn model<'a>(&'a self, base: &'a Model) -> &'a Model {
        self.model.as_ref().unwrap_or(base)
    }
}

impl Trained {
    /// An adapter that does not learn.
    ///
    /// # Errors
    ///
    /// As [`Lora::new`]; code `bad-option` too for modules to save that the model has not.
    pub fn fixed(model: &Model, config: LoraConfig, store: &mut Store) -> Result<Self> {
        let base = adaptable(&model.architecture);
        let saved = config.saved(&base)?;
        let name = |name: &str| {
            let name = peft_name(&model.architecture, name);
            saved.iter().find(|(tensor, _)| tensor.name == name).map(|(_, name)| name.clone())
        };
        let choice = Choice { name: &name, keeps_ties: false, format: WeightFormat::F32 };
        let copies = (!saved.is_empty()).then(|| Copies::new(model, &choice, store)).transpose()?;
        let lora = Lora::new(model, config.clone(), store)?;
        Ok(Trained { parameters: Parameters::default(), lora: Some(lora), copies })
    }

    /// An adapter that learns.
    ///
    /// # Errors
    ///
    /// As [`Trained::fixed`].
    pub fn lora(model: &Model, config: LoraConfig, store: &mut Store) -> Result<Self> {
        let mut trained = Trained::fixed(model, config, store)?;
        trained.register();
        Ok(trained)
    }

    /// All weights of the model, as copies in f32. Passes read their matrices in `format`: as they are, or rounded to F16 or
    /// BF16.
    ///
    /// # Errors
    ///
    /// Code `bad-option` for weights that bitsandbytes quantised, which are not trained as transformers has it;
    /// `out-of-memory`.
    pub fn full(model: &Model, format: WeightFormat, store: &mut Store) -> Result<Self> {
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
        let choice = Choice { name: &|name| Some(name.to_owned()), keeps_ties: true, format };
        let copies = Some(Copies::new(model, &choice, store)?);
        let mut trained = Trained { parameters: Parameters::default(), lora: None, copies };
        trained.register();
        Ok(trained)
    }

    fn register(&mut self) {
        if let Some(lora) = &self.lora {
            lora.register(&mut self.parameters);
        }
        if let Some(copies) = &self.copies {
            copies.register(&mut self.parameters);
        }
    }

    /// What passes read of what learns, with `tensors`, one for each segment of the parameters, in the place of these.
    pub fn moved(&self, tensors: &[Tensor]) -> Moved {
        let place = |tensor: Tensor| self.parameters.beside(tensor, tensors).unwrap_or(tensor);
        let mut model = self.copies.as_ref().map(|copies| copies.model.clone());
        if let Some(model) = &mut model {
            model.each_tensor(&mut |tensor| *tensor = place(*tensor));
        }
        Moved { lora: self.lora.as_ref().map(|lora| lora.moved(place)), model }
    }

    /// The model that passes are recorded with, of which `base` is what was loaded.
    pub fn model<'a>(&'a self, base: &'a Model) -> &'a Model {
        self.copies.as_ref().map_or(base, |copies| &copies.model)
    }

    /// Whether passes with it and without are over different models, rather than the same one with the adapter switched
    /// off.
    pub fn changes_model(&self) -> bool {
        self.lora.as_ref().is_none_or(|lora| lora.config.changes_model())
    }

    /// Whether the embedding learns, whose gradient wants the rows by token id.
    pub fn embedding_learns(&self, base: &Model) -> bool {
        self.learns(&self.model(base).embedding)
    }

    /// Whether the head learns: the gradient of the logits is then wanted whole.
    pub fn head_learns(&self, base: &Model) -> bool {
        self.learns(&self.model(base).head)
    }

    /// Whether anything behind the last layer learns, which has its gradient from the loss itself.
    pub fn loss_learns(&self, base: &Model) -> bool {
        self.head_learns(base) || self.parameters.gradient(self.model(base).norm).is_some()
    }

    fn learns(&self, slabs: &[Slab]) -> bool {
        slabs.iter().any(|slab| self.parameters.gradient(slab.weight.values).is_some())
    }

    /// Gives everything its first values: copies those of the model, then takes the adapter's from `first`. This is work
    /// for [`Device::allocating`].
    ///
    /// # Errors
    ///
    /// `out-of-memory`.
    pub fn start(
        &self,
        base: &Model,
        (device, store): (&Device, &Store),
        target: &Target,
        first: Option<FirstValues<'_>>,
    ) -> Result<()> {
        let model = self.model(base);
        run(device, store, target, |rec| {
            if let Some(copies) = &self.copies {
                copies.record(rec);
            }
            self.parameters.segments().iter().for_each(|segment| segment.record_rounding(rec));
            if let Some(lora) = &self.lora {
                lora.record_squares(rec, model);
            }
        })?;
        match (&self.lora, first) {
            (Some(lora), Some(FirstValues::Factors(rows))) => {
                lora.write(store, rows);
                run(device, store, target, |rec| {
                    lora.record_norms(rec, model, 1.0);
                    lora.record_magnitudes(rec, model);
                })?;
            }
            (Some(lora), Some(FirstValues::Of(adapter))) => {
                lora.write(store, &mut |module, side, rows| adapter.rows(module, side, rows));
                let rows = |name: &str, rows, cols| {
                    adapter.other_rows(name, rows, cols).expect("an adapter has what its config says")
                };
                lora.write_magnitudes(store, &mut |name, own| rows(name, own, 1));
                if let Some(copies) = &self.copies {
                    copies.write(store, &mut |entry, own| rows(&entry.name, own, entry.size()[1]));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Gives copies the values of the model once more, which is all that a run of all weights starts from.
    ///
    /// # Errors
    ///
    /// `out-of-memory`.
    pub fn start_again(&self, device: &Device, store: &Store, target: &Target) -> Result<()> {
        let Some(copies) = &self.copies else { return Ok(()) };
        run(device, store, target, |rec| copies.record(rec))
    }

    /// The chance that an input of the adapter is dropped in training.
    pub fn dropout(&self) -> f64 {
        self.lora.as_ref().map_or(0.0, |lora| lora.config.lora_dropout)
    }
}

/// Runs once what `record` records.
fn run(device: &Device, store: &Store, target: &Target, record: impl FnOnce(&mut Recorder)) -> Result<()> {
    let mut rec = Recorder::new();
    let program = rec.program();
    record(&mut rec);
    if rec.is_empty() {
        return Ok(());
    }
    let lowered = lower(&[rec], target)?;
    Workspace::new(device, store, &lowered)?.run(&[program], 0);
    Ok(())
}
