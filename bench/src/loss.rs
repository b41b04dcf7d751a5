//! The loss at vocabularies of three sizes: in chunks where the engine cuts them, and against all columns at once.

use serde_json::json;
use tabtune::device::{Device, Store, Workspace};
use tabtune::error::Result;
use tabtune::kernels::Recorder;
use tabtune::kernels::linear::Tile;
use tabtune::kernels::lower::lower;
use tabtune::memory::{Class, ProgramId};
use tabtune::model::{LoadOptions, Loss, LossInputs, LossPlan, Model, Parameters};
use web_time::Instant;

use crate::kernels::default_rows;
use crate::open;
use crate::options::{Base, Options};
use crate::output::{Output, Table, digits, rounded};
use crate::shapes::Shape;
use crate::synthetic::{SyntheticFiles, random_ids, random_values};
use crate::timing::Times;

/// Those of SmolLM2, Qwen2.5 and Gemma 3.
const VOCABULARIES: [usize; 3] = [49_152, 151_936, 262_144];
const TURNS: usize = 3;

/// Measures the loss with the hidden size of `options`, all of whose tokens are labelled.
pub async fn run(options: &Options, output: &Output<'_>) -> Result<()> {
    let mut table = Table::new(
        format!("loss at H {}, a head in F16", options.shape.hidden),
        &["", "rows of a block", "columns of a chunk", "MB, peak", "dispatches of a block", "µs a token"],
    );
    for vocab in VOCABULARIES {
        let device = open().await?;
        let rows = options.tokens.unwrap_or_else(|| default_rows(&device));
        output.note(&format!("loss of {rows} tokens at a vocabulary of {vocab}"));
        let shape = Shape { vocab, layers: 1, intermediate: 64, ..*options.shape };
        let mut store = Store::new(&device);
        let load = LoadOptions { load_in_4bit: true, ..LoadOptions::default() };
        let files = SyntheticFiles::new(&shape, Base::Nf4)?;
        let model = Model::load(&files, shape.architecture()?, load, &mut store, &mut |_| {}).await?;
        let mut plans = vec![("whole", LossPlan::whole(rows, vocab)), ("chunks", LossPlan::new(rows, vocab))];
        plans.dedup_by_key(|&mut (_, plan)| plan);
        let mut competitors = Vec::new();
        for &(_, plan) in &plans {
            competitors.push(Competitor::new(&device, &mut store, &model, plan, rows).await?);
        }
        let mut seconds = vec![Vec::new(); plans.len()];
        for _ in 0..TURNS {
            for (competitor, seconds) in competitors.iter().zip(&mut seconds) {
                let began = Instant::now();
                competitor.workspace.run(&competitor.programs, 0);
                device.idle().await;
                seconds.push(began.elapsed().as_secs_f64());
            }
        }
        device.check()?;
        for (((name, plan), competitor), seconds) in plans.into_iter().zip(competitors).zip(seconds) {
            let per_token = 1e6 * Times::of(seconds).median / rows as f64;
            let name = if plan.cuts(vocab) { name } else { "whole" };
            output.result(
                "loss",
                json!({
                    "hidden": shape.hidden,
                    "vocab": vocab,
                    "tokens": rows,
                    "variant": name,
                    "block": plan.block,
                    "chunk": plan.chunk,
                    "peak_bytes": competitor.bytes,
                    "dispatches": competitor.dispatches,
                    "us_per_token": rounded(per_token),
                }),
            );
            table.row(vec![
                format!("V {vocab} {name}"),
                plan.block.to_string(),
                plan.chunk.to_string(),
                digits(competitor.bytes as f64 / 1e6),
                digits(competitor.dispatches),
                digits(per_token),
            ]);
        }
    }
    output.table(table);
    Ok(())
}

/// The loss as one plan records it.
struct Competitor {
    workspace: Workspace,
    programs: Vec<ProgramId>,
    /// Of what lives while the loss is computed, but for rows and labels.
    bytes: u64,
    /// Of each block.
    dispatches: f64,
}

impl Competitor {
    /// Has run once, so that it is warm.
    async fn new(
        device: &Device,
        store: &mut Store,
        model: &Model,
        plan: LossPlan,
        rows: usize,
    ) -> Result<Self> {
        let hidden = model.architecture.hidden.padded;
        let mut keep = |elements: usize| store.keep(Class::Other, "bench", elements);
        let (x, dx, losses) = (keep(rows * hidden)?, keep(rows * hidden)?, keep(plan.rows())?);
        let inputs =
            LossInputs { index: keep(plan.rows())?, targets: keep(plan.rows())?, weight: keep(plan.rows())? };
        store.write(x, &random_values(1, rows * hidden, 1.0));
        let labelled = |of: &dyn Fn(usize) -> u32| -> Vec<u32> {
            (0..plan.rows()).map(|row| if row < rows { of(row) } else { u32::MAX }).collect()
        };
        let ids = random_ids(2, rows, model.architecture.vocab.real);
        store.write(inputs.index, &labelled(&|row| row as u32));
        store.write(inputs.targets, &labelled(&|row| ids[row]));
        store.write(inputs.weight, &vec![1.0 / rows as f32; plan.rows()]);

        let mut rec = Recorder::new();
        let programs =
            Loss { model, plan, inputs, parameters: &Parameters::default(), losses }.blocks(&mut rec, x, dx);
        let lowered = lower(&[rec], &Tile::for_adapter(device.summary()).into())?;
        let bytes = lowered.plan().bytes();
        let before = device.counters().dispatches();
        let workspace = device.allocating(|| Workspace::new(device, store, &lowered)).await?;
        workspace.run(&programs, 0);
        device.idle().await;
        let dispatches = (device.counters().dispatches() - before) as f64 / plan.blocks as f64;
        Ok(Competitor { workspace, programs, bytes, dispatches })
    }
}
