//! The way that a run trains: what of the model learns, and what that starts from.

use serde_json::Value;

use super::adapters::Adapters;
use super::{DEFAULT_ADAPTER, Loaded};
use crate::adapter::{FirstRows, LoraConfig, LoraModule, LoraRng, PeftAdapter};
use crate::bail;
use crate::device::Store;
use crate::error::Result;
use crate::model::{Model, Trained, lora_modules};
use crate::train::options::{FinetuningType, TrainOptions};

/// What of a model learns.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Lora(LoraConfig),
    /// All weights.
    Full,
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
            FinetuningType::Full => Ok(Way::Full),
            FinetuningType::Lora => {
                let modules = lora_modules(&loaded.model.architecture);
                Ok(Way::Lora(config_of_run(lora, start, &modules)?))
            }
        }
    }

    /// As the options have it by themselves.
    pub fn asked(train: &TrainOptions, lora: &Value) -> Result<Self> {
        train.expect_no_lora(lora)?;
        match train.finetuning_type {
            FinetuningType::Lora => Ok(Way::Lora(LoraConfig::from_json(lora)?)),
            FinetuningType::Full => Ok(Way::Full),
        }
    }

    /// The config of the adapter, if there is one.
    pub fn lora_config(&self) -> Option<&LoraConfig> {
        match self {
            Way::Lora(config) => Some(config),
            Way::Full => None,
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
            Way::Lora(config) => Trained::lora(model, config.clone(), store),
            Way::Full => Trained::full(model, store),
        }
    }

    /// Keeps what learns in `store`, with its first values.
    pub fn trained(
        &self,
        model: &Model,
        adapters: &Adapters,
        seed: u64,
        store: &mut Store,
    ) -> Result<Trained> {
        let trained = self.planned(model, store)?;
        if let Way::Lora(config) = self {
            let start = adapters.loaded.get(DEFAULT_ADAPTER);
            trained.write(store, &mut *initial_weights(config, start, seed));
        }
        Ok(trained)
    }
}

/// The config of a run's adapter. What `lora` does not say comes from the adapter that it starts from, if there is
/// one, and what it says must agree with that, but for the dropout.
fn config_of_run(lora: &Value, start: Option<&PeftAdapter>, modules: &[LoraModule]) -> Result<LoraConfig> {
    let Some(PeftAdapter { config: found, .. }) = start else {
        let config = LoraConfig::from_json(lora)?;
        config.resolve(modules)?;
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

/// The values that a run's adapter starts from: those that were loaded, or PEFT's default start.
fn initial_weights<'a>(
    config: &'a LoraConfig,
    start: Option<&'a PeftAdapter>,
    seed: u64,
) -> Box<FirstRows<'a>> {
    match start {
        Some(adapter) => Box::new(|module, side, rows| adapter.rows(module, side, rows)),
        None => {
            let mut rng = LoraRng::new(seed);
            Box::new(move |module, side, rows| rng.first_rows(config, module, side, rows))
        }
    }
}
