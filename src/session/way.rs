//! The way that a run trains: what of the model learns, and what that starts from.

use serde_json::Value;

use super::adapters::Adapters;
use super::{DEFAULT_ADAPTER, Loaded};
use crate::adapter::{Adaptable, FirstValues, LoraConfig, LoraModule, LoraRng, PeftAdapter, Side};
use crate::bail;
use crate::device::{Device, Store};
use crate::error::Result;
use crate::format::WeightFormat;
use crate::kernels::lower::Target;
use crate::model::{Model, Trained, adaptable};
use crate::train::options::{FinetuningType, TrainOptions};

/// What of a model learns.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Lora(Box<LoraConfig>),
    /// All weights, whose matrices passes read in this format: F32, F16 or BF16.
    Full(WeightFormat),
}

impl Way {
    /// As the options of a run have it, for a loaded model.
    pub fn of(loaded: &Loaded, train: &TrainOptions, lora: &Value) -> Result<Self> {
        train.expect_no_lora(lora)?;
        let start = loaded.adapters.loaded.get(DEFAULT_ADAPTER);
        match train.finetuning_type {
            FinetuningType::Full if start.is_some() => bail!(
                BadOption,
                "train.finetuning_type is \"full\", but the run would start from an adapter, which only \"lora\" trains on: \
                 delete the adapter \"default\", or leave init_adapter out"
            ),
            FinetuningType::Full => Ok(Way::Full(train.weight_format())),
            FinetuningType::Lora => {
                let base = adaptable(&loaded.model.architecture);
                Ok(Way::Lora(config_of_run(lora, start, &base)?.into()))
            }
        }
    }

    /// As the options have it by themselves.
    pub fn asked(train: &TrainOptions, lora: &Value) -> Result<Self> {
        train.expect_no_lora(lora)?;
        match train.finetuning_type {
            FinetuningType::Lora => Ok(Way::Lora(LoraConfig::from_json(lora)?.into())),
            FinetuningType::Full => Ok(Way::Full(train.weight_format())),
        }
    }

    /// The config of the adapter, if there is one.
    pub fn lora_config(&self) -> Option<&LoraConfig> {
        match self {
            Way::Lora(config) => Some(config),
            Way::Full(_) => None,
        }
    }

    /// The adapter that the run starts from.
    pub fn start<'a>(&self, loaded: &'a Loaded) -> Option<&'a PeftAdapter> {
        self.lora_config()?;
        loaded.adapters.loaded.get(DEFAULT_ADAPTER)
    }

    /// Keeps what learns in `store`, without its first values.
    pub fn planned(&self, model: &Model, store: &mut Store) -> Result<Trained> {
        match self {
            Way::Lora(config) => Trained::lora(model, LoraConfig::clone(config), store),
            Way::Full(format) => Trained::full(model, *format, store),
        }
    }

    /// Keeps what learns in `store`, with its first values: those that were loaded, or PEFT's default start.
    pub fn trained(
        &self,
        (model, adapters): (&Model, &Adapters),
        seed: u64,
        (device, store): (&Device, &mut Store),
        target: &Target,
    ) -> Result<Trained> {
        let trained = self.planned(model, store)?;
        let Way::Lora(config) = self else {
            trained.start(model, (device, store), target, None)?;
            return Ok(trained);
        };
        let mut rng = LoraRng::new(seed);
        let mut drawn = |module: &LoraModule, side: Side, rows| rng.first_rows(config, module, side, rows);
        let first = match adapters.loaded.get(DEFAULT_ADAPTER) {
            Some(adapter) => FirstValues::Of(adapter),
            None => FirstValues::Factors(&mut drawn),
        };
        trained.start(model, (device, store), target, Some(first))?;
        Ok(trained)
    }
}

/// The config of a run's adapter. What `lora` does not say comes from the adapter that it starts from, if there is
/// one, and what it says must agree with that, but for the dropout.
fn config_of_run(lora: &Value, start: Option<&PeftAdapter>, base: &Adaptable) -> Result<LoraConfig> {
    let modules = &base.linears;
    let Some(PeftAdapter { config: found, .. }) = start else {
        let config = LoraConfig::from_json(lora)?;
        config.tensors(base)?;
        return Ok(config);
    };
    let config = found.clone().with(lora)?;
    let of_ranks =
        |config: &LoraConfig| modules.iter().map(|module| config.rank_of(module)).collect::<Vec<_>>();
    let of_scales =
        |config: &LoraConfig| modules.iter().map(|module| config.scale_of(module)).collect::<Vec<_>>();
    for (name, same) in [
        ("r", config.r == found.r),
        ("lora_alpha", config.lora_alpha == found.lora_alpha),
        ("use_rslora", config.use_rslora == found.use_rslora),
        ("target_modules", config.resolve(modules)? == found.resolve(modules)?),
        ("rank_pattern", of_ranks(&config) == of_ranks(found)),
        ("alpha_pattern", of_scales(&config) == of_scales(found)),
        ("bias", config.bias == found.bias),
        ("use_dora", config.use_dora == found.use_dora),
        ("modules_to_save", config.saved(base)? == found.saved(base)?),
    ] {
        if !same {
            bail!(
                BadOption,
                "lora.{name} differs from that of init_adapter; leave it out to take the adapter's"
            );
        }
    }
    Ok(config)
}
