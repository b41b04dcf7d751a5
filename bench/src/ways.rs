//! What each way to train takes: a step of each on a model that is made up, with its bytes on the device and on the host.

use serde_json::json;
use tabtune::adapter::{LoraConfig, LoraRng};
use tabtune::bail;
use tabtune::error::Result;
use tabtune::model::LoadOptions;
use tabtune::train::options::{FinetuningType, Optim, TrainMethod, TrainOptions};
use web_time::Instant;

use crate::heap;
use crate::open_for;
use crate::options::{Base, Options};
use crate::output::{Output, Table, digits, rounded};
use crate::shapes::Shape;
use crate::step::RANK;
use crate::synthetic::{SyntheticFiles, random_ids};
use crate::training::{Setup, Training};

/// Above so many parameters one step has to do, and all weights are trained only where that is asked for by name.
const LARGE: usize = 1_000_000_000;
/// Steps below that, of which the last counts: the first ones compile kernels.
const STEPS: u32 = 3;

/// A way to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// An adapter on 4 bits.
    Qlora,
    /// An adapter on 8 bits.
    Int8,
    /// An adapter on 4 bits, without a backward pass.
    Mezo,
    /// An adapter on 4 bits, by DPO on as many pairs as the others have rows.
    Dpo,
    /// All weights.
    Full,
}

impl Way {
    pub const ALL: [Way; 5] = [Way::Qlora, Way::Int8, Way::Mezo, Way::Dpo, Way::Full];

    pub fn name(self) -> &'static str {
        match self {
            Way::Qlora => "qlora",
            Way::Int8 => "int8",
            Way::Mezo => "mezo",
            Way::Dpo => "dpo",
            Way::Full => "full",
        }
    }

    fn load(self) -> LoadOptions {
        LoadOptions {
            load_in_4bit: matches!(self, Way::Qlora | Way::Mezo | Way::Dpo),
            double_quant: matches!(self, Way::Qlora | Way::Mezo | Way::Dpo),
            load_in_8bit: self == Way::Int8,
            ..LoadOptions::default()
        }
    }

    fn train(self, steps: u32) -> TrainOptions {
        let finetuning_type = if self == Way::Full { FinetuningType::Full } else { FinetuningType::Lora };
        let optim = if self == Way::Mezo { Optim::Mezo } else { Optim::AdamwTorch };
        let method = if self == Way::Dpo { TrainMethod::Dpo } else { TrainMethod::Sft };
        TrainOptions { max_steps: Some(steps), finetuning_type, optim, method, ..TrainOptions::default() }
    }
}

/// One step of each way that `options` ask for.
pub async fn run(options: &Options, output: &Output<'_>) -> Result<()> {
    let shape = &Shape { seq: options.tokens.unwrap_or(options.shape.seq), ..*options.shape };
    let parameters = shape.parameters()?;
    let is_asked = |way: &Way| match options.way {
        Some(asked) => *way == asked,
        None => *way != Way::Full || parameters < LARGE,
    };
    let title = format!("a step of {}, {} × {} tokens, rank {RANK}", shape.name, shape.batch, shape.seq);
    let mut table =
        Table::new(title, &["way", "MB planned", "MB at most", "MB of host heap", "s to load", "s a step"]);
    let steps = if parameters < LARGE { STEPS } else { 1 };
    for way in Way::ALL.into_iter().filter(is_asked) {
        table.row(measure(options, shape, (way, steps), output).await?);
    }
    output.table(table);
    Ok(())
}

async fn measure(
    options: &Options,
    shape: &Shape,
    (way, steps): (Way, u32),
    output: &Output<'_>,
) -> Result<Vec<String>> {
    output.note(&format!("{} of {}", way.name(), shape.name));
    let rows = if way == Way::Dpo { 2 * shape.batch } else { shape.batch };
    let mut rng = LoraRng::new(1);
    let adapter = LoraConfig { r: RANK, ..LoraConfig::default() };
    let setup = Setup {
        files: &SyntheticFiles::new(shape, Base::Nf4)?,
        load: way.load(),
        rank: RANK,
        alpha: RANK as f64,
        rows: (0..rows as u64).map(|row| random_ids(row + 1, shape.seq + 1, shape.vocab)).collect(),
        initial: &mut |module, side, rows| rng.first_rows(&adapter, module, side, rows),
        options: way.train(steps),
    };
    heap::begin();
    let loading = Instant::now();
    let mut training = Training::new(open_for(options).await?, setup).await?;
    let load_seconds = loading.elapsed().as_secs_f64();
    training.trainer.set_pipelined(false);
    let mut last = None;
    while let Some(log) = training.step().await? {
        last = Some(log);
    }
    let Some(log) = last else { bail!(Internal, "the run has no step") };
    let heap = heap::peak();
    let footprint = *training.trainer.footprint();
    let peak = training.device.counters().peak_buffer_bytes();
    output.result(
        "way",
        json!({
            "shape": shape.name,
            "way": way.name(),
            "tokens": rows * shape.seq,
            "loss": log.loss,
            "planned_gpu_bytes": footprint.peak_gpu_bytes,
            "peak_gpu_bytes": peak,
            "gpu_bytes": footprint.gpu_bytes,
            "checkpointing": footprint.checkpointing,
            "heap_bytes": heap,
            "load_seconds": rounded(load_seconds),
            "step_seconds": rounded(log.step_millis / 1e3),
        }),
    );
    let megabytes = |bytes: u64| digits(bytes as f64 / 1e6);
    Ok(vec![
        way.name().to_owned(),
        megabytes(footprint.peak_gpu_bytes),
        megabytes(peak),
        heap.map_or("not counted".to_owned(), megabytes),
        digits(load_seconds),
        digits(log.step_millis / 1e3),
    ])
}
