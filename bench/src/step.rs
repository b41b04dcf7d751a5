//! A whole training step: how long it takes, how much of the adapter it uses, and where its time goes.

use serde_json::json;
use tabtune::adapter::{LoraConfig, LoraRng};
use tabtune::bail;
use tabtune::error::Result;
use tabtune::memory::Counters;
use tabtune::model::Architecture;
use tabtune::train::options::{GradientCheckpointing, TrainOptions};
use web_time::Instant;

use crate::ceilings::Ceilings;
use crate::open_for;
use crate::options::{Base, Options};
use crate::output::{Output, Table, digits, percent, rounded};
use crate::profile::Profile;
use crate::shapes::Shape;
use crate::synthetic::{SyntheticFiles, random_ids};
use crate::timing::Times;
use crate::training::{Setup, Training};

pub const RANK: usize = 16;
const WARM_UP: usize = 2;
/// Steps that count, and how many of them where each takes longer than [`SLOW_SECONDS`].
const TIMED: usize = 5;
const TIMED_SLOW: usize = 2;
const SLOW_SECONDS: f64 = 20.0;

/// Measures the step of `options` and reports it against `ceilings`.
pub async fn run(options: &Options, ceilings: Option<&Ceilings>, output: &Output<'_>) -> Result<()> {
    let shape = &Shape { seq: options.tokens.unwrap_or(options.shape.seq), ..*options.shape };
    let base = options.base.unwrap_or(Base::Nf4);
    // Rows have one token more, which is predicted and predicts nothing.
    let tokens = shape.batch * shape.seq;
    output.note(&format!(
        "step of {} with {} base, {} × {} tokens",
        shape.name,
        base.name(),
        shape.batch,
        shape.seq
    ));

    let loading = Instant::now();
    let mut training = training(options, shape, base, options.checkpointing).await?;
    let load_seconds = loading.elapsed().as_secs_f64();
    let (times, step) = timed_steps(&mut training).await?;
    let peak_bytes = training.device.counters().peak_buffer_bytes();
    let reserved_bytes = training.device.reserved_bytes();
    let checkpointing = training.trainer.footprint().checkpointing;
    // No plan needs less: what outlives the step, and the most that is in use at one dispatch.
    let plan = training.trainer.memory_plan();
    let least_bytes = training.planned_bytes - plan.bytes() + plan.live_bytes;

    let flops = flops_per_token(shape, checkpointing)? * tokens as f64;
    // The adapter's weights are of no use afterwards.
    let busy = training.trainer.busy_seconds().await?;
    let profile = Profile::of(training.trainer.profile().await);
    training.device.check()?;
    // Stamps show how long the GPU was at work; what a step took beyond that, the GPU waited. The
    // shortest step has the least of other programs' work in it.
    let waited = busy.map(|busy| (times.best - busy).max(0.0));
    let planned_bytes = training.trainer.footprint().peak_gpu_bytes;

    output.result(
        "step",
        json!({
            "shape": shape.name,
            "base": base.name(),
            "batch": shape.batch,
            "tokens": tokens,
            "rank": RANK,
            "checkpointing": checkpointing,
            "load_seconds": rounded(load_seconds),
            "ms_per_step": rounded(times.median * 1e3),
            "ms_best": rounded(times.best * 1e3),
            "tokens_per_second": rounded(tokens as f64 / times.median),
            "gflop_per_token": rounded(flops / tokens as f64 / 1e9),
            "gflops": rounded(flops / times.median / 1e9),
            "share_of_peak": ceilings.map(|most| rounded(flops / times.median / most.flops)),
            "dispatches": step.dispatches,
            "submits": step.submits,
            "bytes_moved": step.bytes,
            "planned_gpu_bytes": planned_bytes,
            "peak_gpu_bytes": peak_bytes,
            "reserved_gpu_bytes": reserved_bytes,
            "least_gpu_bytes": least_bytes,
            "gpu_busy_ms": busy.map(|busy| rounded(busy * 1e3)),
            "gpu_waited_ms": waited.map(|waited| rounded(waited * 1e3)),
            "gpu_waited_share": waited.map(|waited| rounded(waited / times.best)),
        }),
    );
    // These come last, because they take two more models, and a run may be cut short.
    profile.report("step", shape, output);
    let per_layer = dispatches_per_layer(options, shape, base, checkpointing).await?;
    output.result(
        "layer",
        json!({
            "shape": shape.name,
            "base": base.name(),
            "dispatches_forward": per_layer[0],
            "dispatches_backward": per_layer[1],
        }),
    );
    let share = |least: &dyn Fn(&Ceilings) -> f64| {
        ceilings.map_or("not measured".to_owned(), |most| percent(least(most) / times.median))
    };
    let mut table = Table::new(
        format!("a step of {}, {} base, {tokens} tokens", shape.name, base.name()),
        &["", "measured"],
    );
    for (name, value) in [
        ("ms per step, median", digits(times.median * 1e3)),
        ("tokens/s", digits(tokens as f64 / times.median)),
        ("GFLOP/s", digits(flops / times.median / 1e9)),
        ("share of the multiply-add peak", share(&|most| flops / most.flops)),
        ("share of the least time of its bytes", share(&|most| step.bytes as f64 / most.bytes)),
        ("share of its dispatches, were they empty", share(&|most| step.dispatches as f64 * most.dispatch)),
        ("activations computed again", checkpointing.to_string()),
        ("dispatches, submits", format!("{}, {}", step.dispatches, step.submits)),
        ("dispatches per layer forward, backward", format!("{}, {}", per_layer[0], per_layer[1])),
        ("GB moved, every binding once", digits(step.bytes as f64 / 1e9)),
        ("MB on the GPU, planned", digits(planned_bytes as f64 / 1e6)),
        ("MB on the GPU, most at once", digits(peak_bytes as f64 / 1e6)),
        ("MB that the allocator took", megabytes_or_none(reserved_bytes)),
        ("MB that no plan could do without", digits(least_bytes as f64 / 1e6)),
        ("ms that the GPU waited", waited.map_or("no timestamps".to_owned(), |waited| digits(waited * 1e3))),
    ] {
        table.row(vec![name.to_owned(), value]);
    }
    output.table(table);
    Ok(())
}

fn megabytes_or_none(bytes: Option<u64>) -> String {
    bytes.map_or("not told".to_owned(), |bytes| digits(bytes as f64 / 1e6))
}

async fn training(
    options: &Options,
    shape: &Shape,
    base: Base,
    checkpointing: GradientCheckpointing,
) -> Result<Training> {
    let mut rng = LoraRng::new(1);
    let adapter = LoraConfig { r: RANK, ..LoraConfig::default() };
    let setup = Setup {
        files: &SyntheticFiles::new(shape, base)?,
        load: base.load(),
        rank: RANK,
        alpha: RANK as f64,
        rows: (0..shape.batch as u64).map(|row| random_ids(row + 1, shape.seq + 1, shape.vocab)).collect(),
        initial: &mut |module, side, rows| rng.first_rows(&adapter, module, side, rows),
        options: TrainOptions {
            // One more is always on its way.
            max_steps: Some((WARM_UP + TIMED + 1) as u32),
            gradient_checkpointing: checkpointing,
            ..TrainOptions::default()
        },
    };
    Training::new(open_for(options).await?, setup).await
}

/// Steps as a run does them, one always on its way while the one before it is read; and what the last
/// of them counted.
async fn timed_steps(training: &mut Training) -> Result<(Times, Counted)> {
    let mut seconds = Vec::new();
    let mut counted = Counted::default();
    for number in 0..WARM_UP + TIMED {
        let before = Counted::of(training.device.counters());
        let Some(log) = training.step().await? else { bail!(Internal, "the run ended early") };
        counted = Counted::of(training.device.counters()).since(before);
        if number >= WARM_UP {
            seconds.push(log.step_millis / 1e3);
        }
        if seconds.len() >= TIMED_SLOW && seconds[0] > SLOW_SECONDS {
            break;
        }
    }
    Ok((Times::of(seconds), counted))
}

/// What the GPU layer did.
#[derive(Clone, Copy, Default)]
struct Counted {
    dispatches: u64,
    submits: u64,
    bytes: u64,
}

impl Counted {
    fn of(counters: &Counters) -> Self {
        let (dispatches, submits) = (counters.dispatches(), counters.submits());
        Counted { dispatches, submits, bytes: counters.bound_bytes() }
    }

    fn since(self, before: Counted) -> Self {
        Counted {
            dispatches: self.dispatches - before.dispatches,
            submits: self.submits - before.submits,
            bytes: self.bytes - before.bytes,
        }
    }
}

/// Dispatches that one more layer adds to a forward pass and to a backward pass, from models of two and
/// of three layers. The vocabulary has no part in it, so a small one does.
async fn dispatches_per_layer(
    options: &Options,
    shape: &Shape,
    base: Base,
    checkpointing: bool,
) -> Result<[u64; 2]> {
    let checkpointing = if checkpointing { GradientCheckpointing::On } else { GradientCheckpointing::Off };
    let mut counts = Vec::new();
    for layers in [2, 3] {
        let shape = Shape { layers, vocab: 256, ..*shape };
        let mut training = training(options, &shape, base, checkpointing).await?;
        training.trainer.set_pipelined(false);
        let dispatches = |training: &Training| training.device.counters().dispatches();
        let begin = dispatches(&training);
        training.evaluate().await?;
        let evaluated = dispatches(&training);
        training.step().await?;
        counts.push([evaluated - begin, dispatches(&training) - evaluated]);
    }
    let forward = counts[1][0] - counts[0][0];
    Ok([forward, counts[1][1] - counts[0][1] - forward])
}

/// The widths of all linear layers, at both ends.
pub fn ends_of_modules(architecture: &Architecture) -> usize {
    architecture.modules().map(|(_, module)| module.inputs.real + module.outputs.real).sum()
}

/// Floating-point operations of a step for each of its tokens, all of which predict a label.
fn flops_per_token(shape: &Shape, checkpointing: bool) -> Result<f64> {
    let architecture = shape.architecture()?;
    let layers = shape.layers as f64;
    let weights = architecture.linear_parameters() as f64;
    let lora = 2.0 * RANK as f64 * ends_of_modules(&architecture) as f64;
    let attention = 2.0 * (shape.seq * shape.heads * shape.head_dim) as f64 * layers;
    let head = 4.0 * (shape.vocab * shape.hidden) as f64;
    let again = if checkpointing { 2.0 * weights + attention + lora } else { 0.0 };
    Ok(4.0 * weights + head + 3.5 * attention + 3.0 * lora + again)
}
