//! Times recordings against one another.
//!
//! Machines change their speed from second to second, so competitors take turns (A B C A B C …) and
//! what counts is the median of the turns; ratios are taken within one race.

use tabtune::device::{Device, Lowered, Store, Workspace};
use tabtune::error::Result;
use tabtune::gpu::Dispatches;
use tabtune::kernels::Recorder;
use tabtune::kernels::lower::{Target, lower};
use tabtune::memory::ProgramId;
use web_time::Instant;

/// One program, ready to run. Its kept tensors live in the store it was made with,
/// which must outlive it.
pub struct Competitor {
    workspace: Workspace,
    program: ProgramId,
}

/// The seconds of one run of a competitor.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub median: f64,
    pub best: f64,
}

/// What a turn takes at least, by repeating the run: browsers round the GPU's clock to 100 µs, and a
/// wait for the GPU takes tens of µs.
const TURN_SECONDS: f64 = 0.02;
const MOST_REPEATS: usize = 512;
/// From here on fewer turns have to do.
const SLOW_SECONDS: f64 = 0.5;

impl Competitor {
    /// Makes the calls that `record` records real, lowered for `target`.
    pub async fn new(
        device: &Device,
        store: &Store,
        target: impl Into<Target>,
        record: impl FnOnce(&mut Recorder),
    ) -> Result<Self> {
        let mut recorder = Recorder::new();
        let program = recorder.program();
        record(&mut recorder);
        Self::made(device, store, program, lower(&[recorder], &target.into())?).await
    }

    /// Makes the dispatches that `add` adds real: those of shaders that the engine has not.
    pub async fn of_dispatches(
        device: &Device,
        store: &Store,
        add: impl FnOnce(&mut Dispatches),
    ) -> Result<Self> {
        let mut dispatches = Dispatches::new();
        let program = dispatches.program();
        add(&mut dispatches);
        Self::made(device, store, program, dispatches.into()).await
    }

    async fn made(device: &Device, store: &Store, program: ProgramId, lowered: Lowered) -> Result<Self> {
        let workspace = device.allocating(|| Workspace::new(device, store, &lowered)).await?;
        Ok(Competitor { workspace, program })
    }

    /// Seconds of one run, from `repeats` in a row by the wall clock until the GPU is idle.
    pub async fn wall_seconds(&self, device: &Device, repeats: usize) -> f64 {
        let began = Instant::now();
        self.workspace.run(&vec![self.program; repeats], 0);
        device.idle().await;
        began.elapsed().as_secs_f64() / repeats as f64
    }

    /// Seconds of one run, from `repeats` in a row by the GPU's own clock.
    pub async fn gpu_seconds(&self, repeats: usize) -> f64 {
        let dispatches = self.workspace.profile(&vec![self.program; repeats], 0).await;
        dispatches.iter().map(|(_, seconds, _)| seconds).sum::<f64>() / repeats as f64
    }

    async fn seconds(&self, device: &Device, repeats: usize) -> f64 {
        // A browser's stamps are too coarse for a single kernel.
        match device.summary().has_timestamps && !cfg!(target_arch = "wasm32") {
            true => self.gpu_seconds(repeats).await,
            false => self.wall_seconds(device, repeats).await,
        }
    }
}

/// Times `competitors` in turns, after two runs of each to warm up, of which the second says how often
/// a turn repeats.
pub async fn race(device: &Device, competitors: &[Competitor], turns: usize) -> Result<Vec<Times>> {
    let mut repeats = Vec::new();
    let mut slowest: f64 = 0.0;
    for competitor in competitors {
        competitor.seconds(device, 1).await;
        let seconds = competitor.seconds(device, 1).await;
        slowest = slowest.max(seconds);
        repeats.push(((TURN_SECONDS / seconds.max(1e-9)).ceil() as usize).clamp(1, MOST_REPEATS));
        device.check()?;
    }
    let turns = if slowest > SLOW_SECONDS { turns.min(3) } else { turns };
    let mut times = vec![Vec::new(); competitors.len()];
    for _ in 0..turns {
        for ((competitor, &repeats), times) in competitors.iter().zip(&repeats).zip(&mut times) {
            times.push(competitor.seconds(device, repeats).await);
        }
    }
    device.check()?;
    Ok(times.into_iter().map(Times::of).collect())
}

impl Times {
    /// Of one time or more.
    pub fn of(seconds: Vec<f64>) -> Self {
        let best = seconds.iter().copied().fold(f64::INFINITY, f64::min);
        Times { median: median(seconds), best }
    }
}

/// The middle one of some values, of an even number the upper.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
