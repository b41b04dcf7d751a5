//! What a run takes on the GPU, told before anything is allocated.

use std::rc::Rc;

use serde_json::Value;

use super::way::Way;
use super::{Loaded, Session};
use crate::adapter::LoraConfig;
use crate::data::tokens::{Selection, TokenSet};
use crate::device::Store;
use crate::error::{Error, Result};
use crate::files::Files;
use crate::format::WeightFormat;
use crate::format::gguf::ModelFolder;
use crate::kernels::lower::Target;
use crate::memory::Class;
use crate::model::Model;
use crate::train::options::{Optim, QuantizationOptions, TrainOptions};
use crate::train::{Footprint, RunPlan};

impl Session {
    /// What a run takes on this GPU, by its model's files alone: no weight is read and nothing allocated.
    /// The largest micro-batch is taken to have rows of `train.max_length` tokens, all labelled.
    pub async fn estimate(
        &self,
        files: &dyn Files,
        quantization: &Value,
        lora: &Value,
        train: &Value,
    ) -> Result<Footprint> {
        let quantization = QuantizationOptions::from_json(quantization)?;
        let files = &ModelFolder::open(files).await?;
        let architecture = Model::architecture(files).await?;
        let mut store = Store::planned_on(&self.device).with_max_weight(self.max_weight);
        let options = quantization.load_options()?;
        let model = Model::load(files, architecture, options, &mut store, &mut |_| {}).await?;
        let train = TrainOptions::from_json(train)?;
        let way = Way::asked(&train, lora)?;
        let tiles = self.tiles_for(&model.products(), &quantization).await?;
        footprint(&model, &way, &train, &Target::of(&self.device, &tiles), &mut store)
    }
}

/// What a run on rows of `max_length` tokens takes, with the tensors that `store` keeps already.
fn footprint(
    model: &Model,
    way: &Way,
    train: &TrainOptions,
    target: &Target,
    store: &mut Store,
) -> Result<Footprint> {
    let mut trained = way.planned(model, store)?;
    let context = model.architecture.context as u32;
    let length = train.max_length.map_or(context, |length| length.min(context));
    let rows = Selection::all(Rc::new(TokenSet::alike(
        train.per_device_train_batch_size,
        train.encode_options().rows_as,
        length,
    )));
    let plan = RunPlan::new(store, model, &mut trained, target, train, &rows, None)?;
    Ok(plan.footprint(store))
}

/// Tells what a run that did not fit would have taken, and what lighter ones would.
pub(super) fn with_lighter_runs(
    error: Error,
    loaded: &Loaded,
    way: &Way,
    train: &TrainOptions,
    target: &Target,
) -> Error {
    let there = loaded.store.bytes(Class::Weights) + loaded.store.device_bytes();
    let megabytes = |way: &Way, train: &TrainOptions| {
        let mut store = Store::planned(loaded.store.max_binding());
        let planned = footprint(&loaded.model, way, train, target, &mut store);
        planned.map(|planned| (planned.peak_gpu_bytes + there).div_ceil(1_000_000))
    };
    let context = loaded.model.architecture.context as u32;
    let length = train.max_length.unwrap_or(context).min(context);
    let rows = train.per_device_train_batch_size;
    let mut lighter = Vec::new();
    if length > 16 {
        let train = TrainOptions { max_length: Some(length / 2), ..train.clone() };
        lighter.push((format!("max_length {}", length / 2), megabytes(way, &train)));
    }
    if rows > 1 {
        let train = TrainOptions { per_device_train_batch_size: rows / 2, ..train.clone() };
        lighter.push((format!("per_device_train_batch_size {}", rows / 2), megabytes(way, &train)));
    }
    match way {
        Way::Lora(lora) => {
            if lora.r > 1 {
                let lora = LoraConfig { r: lora.r / 2, ..LoraConfig::clone(lora) };
                lighter.push((format!("r {}", lora.r), megabytes(&Way::Lora(lora.into()), train)));
            }
            if train.optim != Optim::Mezo {
                let train = TrainOptions { optim: Optim::Mezo, ..train.clone() };
                lighter.push(("optim \"mezo\"".to_owned(), megabytes(way, &train)));
            }
        }
        Way::Full(format) => {
            if *format != WeightFormat::F32 {
                // Weights in 16 bits are beside their masters.
                let option = if train.fp16 { "fp16" } else { "bf16" };
                lighter.push((format!("{option} false"), megabytes(&Way::Full(WeightFormat::F32), train)));
            }
            if train.optim == Optim::AdamwTorch {
                for (name, optim) in [("adafactor", Optim::Adafactor), ("sgd", Optim::Sgd)] {
                    let train = TrainOptions { optim, ..train.clone() };
                    lighter.push((format!("optim \"{name}\""), megabytes(way, &train)));
                }
            }
            let lora = Way::Lora(Box::default());
            lighter.push(("finetuning_type \"lora\"".to_owned(), megabytes(&lora, train)));
        }
    }
    let known = lighter.into_iter().filter_map(|(change, megabytes)| Some((change, megabytes.ok()?)));
    let list: Vec<String> =
        known.map(|(change, megabytes)| format!("{megabytes} MB with {change}")).collect();
    let whole =
        megabytes(way, train).map_or(String::new(), |whole| format!("; the run takes up to {whole} MB"));
    let message = format!("{}{whole}, and would take {}", error.message, list.join(", "));
    Error { message, ..error }
}
