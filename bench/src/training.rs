//! A training run on weights and rows that are made up.

use std::rc::Rc;

use tabtune::adapter::{FirstRows, FirstValues, LoraConfig, TargetModules};
use tabtune::data::encode::Encoded;
use tabtune::data::kv::MemoryKv;
use tabtune::data::scores::Scores;
use tabtune::data::tokens::{Selection, TokenSet};
use tabtune::device::{Device, Store};
use tabtune::error::Result;
use tabtune::files::Files;
use tabtune::kernels::linear::Tile;
use tabtune::kernels::lower::Target;
use tabtune::kernels::tiles::Tiles;
use tabtune::model::{LoadOptions, Model, Trained};
use tabtune::train::options::{FinetuningType, TrainOptions};
use tabtune::train::{StepLog, Trainer, TrainerSetup};
use tabtune::tune::{self, Tuning};

/// How a run is set up.
pub struct Setup<'a> {
    pub files: &'a dyn Files,
    pub load: LoadOptions,
    pub rank: usize,
    pub alpha: f64,
    /// Each holds token ids that all count as labels. All rows go into every step; of pairs the chosen one comes first.
    pub rows: Vec<Vec<u32>>,
    /// The adapter's start.
    pub initial: &'a mut FirstRows<'a>,
    pub options: TrainOptions,
}

/// A run that is ready to step, with what it lies on.
pub struct Training {
    pub device: Device,
    pub model: Model,
    pub store: Store,
    pub trainer: Trainer,
    /// Bytes of every buffer once all was planned and made, before the first step.
    pub planned_bytes: u64,
    rows: MemoryKv,
}

impl Training {
    /// Loads the model, adapts every linear layer, and records the step.
    pub async fn new(device: Device, setup: Setup<'_>) -> Result<Self> {
        let Setup { files, load, rank, alpha, rows, initial, options } = setup;
        let architecture = Model::architecture(files).await?;
        let mut store = Store::new(&device);
        let model = Model::load(files, architecture, load, &mut store, &mut |_| {}).await?;

        let target = Target::of(&device, &tiles(&device, &model).await?);

        let stored = MemoryKv::default();
        let encoded: Vec<Encoded> =
            rows.into_iter().map(|ids| Encoded { labelled: vec![true; ids.len()], ids }).collect();
        let rows_as = options.encode_options().rows_as;
        let set = Rc::new(TokenSet::of_rows(&stored, "rows", rows_as, &encoded).await?);
        let units = encoded.len() / rows_as.rows_per_unit() as usize;

        let lora_config = LoraConfig {
            r: rank,
            lora_alpha: alpha,
            target_modules: TargetModules::AllLinear,
            ..LoraConfig::default()
        };
        let trained = match options.finetuning_type {
            FinetuningType::Lora => Trained::lora(&model, lora_config, &mut store)?,
            FinetuningType::Full => Trained::full(&model, options.weight_format(), &mut store)?,
        };
        trained.start(&model, (&device, &store), &target, Some(FirstValues::Factors(initial)))?;
        let setup = TrainerSetup {
            model: &model,
            trained,
            options: TrainOptions { per_device_train_batch_size: units as u32, ..options },
            dataset: Selection::all(set.clone()),
            eval_dataset: Some(Selection::all(set.clone())),
            target: &target,
        };
        let mut trainer = device.allocating(|| Trainer::new(&device, &mut store, setup)).await?;
        let planned_bytes = device.counters().buffer_bytes();
        let scores = Scores::open(&stored, &set, "reference").await?;
        trainer.know_reference((&device, &store), &stored, 0, scores, &mut |_, _| true).await?;
        Ok(Training { device, model, store, trainer, planned_bytes, rows: stored })
    }

    /// One optimiser step; `None` after the last one.
    pub async fn step(&mut self) -> Result<Option<StepLog>> {
        self.trainer.step(&self.device, &self.store, &self.rows).await
    }

    /// A forward pass with its loss, over the rows of a step.
    pub async fn evaluate(&mut self) -> Result<f64> {
        Ok(self.trainer.evaluate(&self.store, &self.rows, &mut || true).await?.eval_loss)
    }
}

/// The tiles that a session would take for `model`: tuned where the adapter is a GPU.
pub async fn tiles(device: &Device, model: &Model) -> Result<Tiles> {
    if device.summary().is_software {
        return Ok(Tile::for_adapter(device.summary()).into());
    }
    let candidates = tune::candidates(device.summary(), true);
    let mut tuning = Tuning::new(device.summary());
    tune::tune(device, &model.products(), &candidates, tune::LOAD_SECONDS, &mut tuning).await?;
    Ok(tuning.tiles)
}
