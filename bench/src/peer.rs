//! The training step that peers run, timed as they time it.

use serde_json::{Value, json};
use tabtune::adapter::LoraModule;
use tabtune::bail;
use tabtune::device::Device;
use tabtune::error::Result;
use tabtune::train::options::{LrSchedulerType, TrainOptions};
use web_time::Instant;

use crate::open_for;
use crate::options::{Base, Options};
use crate::output::{Output, Table, digits};
use crate::shapes::Shape;
use crate::training::{Setup, Training};
use crate::work::{ALPHA, LEARNING_RATE, RANK, STEPS, Work};

/// What the steps took and what they lost.
pub struct PeerRun {
    /// Milliseconds from the call of a step until its loss is on the host, one for each step.
    pub ms: Vec<f64>,
    /// The mean over all targets before each step's update.
    pub losses: Vec<f64>,
}

/// Prints the one raw line that compares with those of other peers. Where no base was asked for, the
/// line is that of the f32 base, and the NF4 base follows in a table of notes.
pub async fn run(options: &Options, output: &Output<'_>) -> Result<()> {
    let work = Work::new(options.shape)?;
    let mut table =
        Table::new(format!("peer {}", options.shape.name), &["peer", "ms/step", "min", "first loss", "last"]);
    let bases = options.base.map_or(vec![Base::F32, Base::Nf4], |base| vec![base]);
    for (number, base) in bases.into_iter().enumerate() {
        let run = steps(open_for(options).await?, &work, base).await?;
        if number == 0 {
            output.raw(&line(options.shape, base, output.adapter(), &run));
        }
        let mut timed = run.ms[2..].to_vec();
        timed.sort_by(f64::total_cmp);
        table.row(vec![
            name(base),
            digits(timed[timed.len() / 2]),
            digits(timed[0]),
            format!("{:.5}", run.losses[0]),
            format!("{:.5}", run.losses[STEPS - 1]),
        ]);
    }
    output.table(table);
    Ok(())
}

/// Does the steps one after another; none begins before the one before it has ended.
pub async fn steps(device: Device, work: &Work, base: Base) -> Result<PeerRun> {
    let options = TrainOptions {
        learning_rate: LEARNING_RATE,
        lr_scheduler_type: LrSchedulerType::Constant,
        max_steps: Some(STEPS as u32),
        max_grad_norm: 0.0,
        ..TrainOptions::default()
    };
    let mut initial = |module: &LoraModule, side, rows| {
        let start = work.lora.iter().find(|(path, _)| *path == module.path);
        start.expect("the work adapts every linear layer").1.rows(module, side, rows)
    };
    let setup = Setup {
        files: &work.files,
        load: base.load(),
        rank: RANK,
        alpha: ALPHA,
        rows: work.rows.clone(),
        initial: &mut initial,
        options,
    };
    let mut training = Training::new(device, setup).await?;
    training.trainer.set_pipelined(false);
    let mut run = PeerRun { ms: Vec::new(), losses: Vec::new() };
    for _ in 0..STEPS {
        let began = Instant::now();
        let Some(log) = training.step().await? else { bail!(Internal, "the run ended early") };
        run.ms.push(began.elapsed().as_secs_f64() * 1e3);
        run.losses.push(log.loss);
    }
    Ok(run)
}

fn name(base: Base) -> String {
    let engine = if cfg!(target_arch = "wasm32") { "browser" } else { "native" };
    match base {
        Base::F32 => format!("tabtune {engine}"),
        Base::Nf4 => format!("tabtune {engine} nf4"),
    }
}

fn line(shape: &Shape, base: Base, adapter: &str, run: &PeerRun) -> Value {
    json!({
        "peer": name(base),
        "version": env!("CARGO_PKG_VERSION"),
        "adapter": adapter,
        "shape": shape.name,
        "ms": run.ms,
        "losses": run.losses,
    })
}
