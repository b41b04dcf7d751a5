//! The run: its step is recorded once for every size a micro-batch may have, then replayed.

use std::collections::VecDeque;
use std::time::Duration;

use web_time::Instant;

use super::batch::FlatBatch;
use super::log::{EvalLog, Line, Metrics, StepLog};
use super::objective::{Fetched, InStep, Objective, Part};
use super::options::{TrainOptions, every_steps};
use super::pace::{Pace, Seen};
use super::planning::{EVALS_IN_FLIGHT, Footprint, IN_FLIGHT, RunPlan, Sizes};
use super::saved::Progress;
use super::schedule::Schedule;
use super::state::StoreState;
use super::step::{Inputs, Method, Passes, Programs, REPORT_BYTES, TALLY_VALUES, Texts, Update};
use crate::bail;
use crate::data::batches::BatchPlan;
use crate::data::kv::Kv;
use crate::data::scores::Scores;
use crate::data::tokens::Selection;
use crate::device::{Device, Readback, ReadbackRing, Store, Workspace};
use crate::error::Result;
use crate::kernels::lower::Target;
use crate::memory::{MemoryPlan, ProgramId};
use crate::model::{Model, ParameterPart, Reader, Trained, View};

/// What a trainer is made from.
pub struct TrainerSetup<'a> {
    pub model: &'a Model,
    /// What learns, with its first values.
    pub trained: Trained,
    pub options: TrainOptions,
    pub dataset: Selection,
    /// Rows to evaluate on, at least one.
    pub eval_dataset: Option<Selection>,
    pub target: &'a Target,
}

/// A run: what learns, its programs and how far it is.
pub struct Trainer {
    options: TrainOptions,
    trained: Trained,
    method: Box<dyn Method>,
    objective: Box<dyn Objective>,
    batches: BatchPlan,
    schedule: Schedule,
    dataset: Selection,
    eval_dataset: Option<Selection>,
    views: Vec<View>,
    /// See [`Architecture::padding_id`](crate::model::Architecture::padding_id).
    padding_id: Option<u32>,
    sizes: Sizes,
    target: Target,
    footprint: Footprint,
    programs: Programs,
    workspace: Workspace,
    inputs: Inputs,
    ring: ReadbackRing,
    /// An evaluation may come while a step is on its way.
    eval_ring: ReadbackRing,
    in_flight: usize,
    /// Whether no further step is submitted until those on their way are done.
    is_held: bool,
    /// Steps submitted so far, and what came of them.
    progress: Progress,
    /// Skipped steps since the last one that was not.
    skipped_in_a_row: u32,
    pending: VecDeque<Pending>,
    next_rows: Option<Upcoming>,
    /// What the reference makes of the rows to train and to evaluate on.
    references: [Option<Scores>; 2],
    finished_at: Option<Instant>,
    pace: Pace,
    /// What the last evaluation took.
    eval_seconds: Option<f64>,
}

/// How long log-probabilities of the reference are computed before they are kept.
const KEEP_SCORES: Duration = Duration::from_secs(1);

/// The rows of a step, by micro-batch.
struct Upcoming {
    step: u32,
    micro_batches: Vec<Vec<Fetched>>,
    millis: f64,
}

/// A part of a micro-batch, and the same as the device wants it.
struct Placed {
    part: Part,
    batch: FlatBatch,
}

/// Rows by number, each with what the reference makes of it.
async fn fetched(
    kv: &impl Kv,
    selection: &Selection,
    reference: Option<&Scores>,
    numbers: &[u32],
) -> Result<Vec<Fetched>> {
    let rows = selection.set.get(kv, numbers).await?;
    let logp = |row: &u32| reference.map_or(f32::NAN, |scores| scores.of(*row));
    Ok(rows.into_iter().zip(numbers).map(|(row, number)| Fetched { row, reference: logp(number) }).collect())
}

struct Pending {
    readback: Readback,
    log: StepLog,
    tokens: u64,
    labelled: u64,
    flops: u64,
    submitted_at: Instant,
}

impl Trainer {
    /// Plans, allocates and records the run, which is work for [`Device::allocating`].
    ///
    /// # Errors
    ///
    /// `bad-data` for a dataset without rows; `bad-option` for rows longer than the model's context;
    /// `out-of-memory`, naming what did not fit.
    pub fn new(device: &Device, store: &mut Store, setup: TrainerSetup<'_>) -> Result<Self> {
        let TrainerSetup { model, mut trained, options, dataset, eval_dataset, target } = setup;
        let plan =
            RunPlan::new(store, model, &mut trained, target, &options, &dataset, eval_dataset.as_ref())?;
        let footprint = plan.footprint(store);
        let RunPlan { batches, method, objective, inputs, longest, sizes, lowered, programs, .. } = plan;
        let schedule = Schedule::new(&options, batches.total_steps());
        let workspace = Workspace::new(device, store, &lowered)?;

        inputs.write_ropes(store, model, longest);
        device.check()?;

        Ok(Trainer {
            trained,
            method,
            objective,
            batches,
            schedule,
            dataset,
            eval_dataset,
            views: model.architecture.views.clone(),
            padding_id: model.architecture.padding_id,
            sizes,
            target: target.clone(),
            footprint,
            programs,
            workspace,
            ring: ReadbackRing::new(device, REPORT_BYTES, IN_FLIGHT),
            eval_ring: ReadbackRing::new(device, REPORT_BYTES, EVALS_IN_FLIGHT),
            inputs,
            in_flight: IN_FLIGHT,
            is_held: false,
            progress: Progress::default(),
            skipped_in_a_row: 0,
            pending: VecDeque::new(),
            next_rows: None,
            references: [None, None],
            finished_at: None,
            pace: Pace::default(),
            eval_seconds: None,
            options,
        })
    }

    pub fn total_steps(&self) -> u32 {
        self.batches.total_steps()
    }

    pub fn options(&self) -> &TrainOptions {
        &self.options
    }

    /// What learns.
    pub fn trained(&self) -> &Trained {
        &self.trained
    }

    /// Where the step's working tensors lie.
    pub fn memory_plan(&self) -> &MemoryPlan {
        self.workspace.plan()
    }

    /// What the run takes on the GPU.
    pub fn footprint(&self) -> &Footprint {
        &self.footprint
    }

    /// With `false`, each step ends before the next one begins, so that its gradients can be read or the
    /// GPU rests.
    pub fn set_pipelined(&mut self, pipelined: bool) {
        self.in_flight = if pipelined { IN_FLIGHT } else { 1 };
    }

    /// Does one optimiser step and returns its log, or `None` after the last one.
    ///
    /// While this waits for a step, the next one is already with the GPU.
    ///
    /// A step whose loss or gradient is NaN or infinite has changed nothing and says so. Code
    /// `device-lost` where the GPU is gone.
    pub async fn step(&mut self, device: &Device, store: &Store, rows: &impl Kv) -> Result<Option<StepLog>> {
        while self.pending.len() < self.in_flight
            && self.progress.step < self.total_steps()
            && (self.pending.is_empty() || !self.waits(self.progress.step))
        {
            let upcoming = match self.next_rows.take().filter(|next| next.step == self.progress.step) {
                Some(next) => next,
                None => self.fetch(rows, self.progress.step).await?,
            };
            self.submit(device, store, upcoming)?;
            if self.progress.step < self.total_steps() {
                self.next_rows = Some(self.fetch(rows, self.progress.step).await?);
            }
        }
        match self.pending.pop_front() {
            Some(pending) => self.finish(device, pending).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether what a reference makes of the rows is to be known before the first step.
    pub fn has_reference_before(&self) -> bool {
        self.objective.before_steps().is_some()
    }

    /// Takes what the reference makes of the rows to train on (0) or to evaluate on (1), and computes what is not known of
    /// it, as far as `go_on` says, which hears rows done and rows in all. The run must be where it starts, and drained.
    ///
    /// # Errors
    ///
    /// `cancelled` where `go_on` says no; what was computed is kept.
    pub async fn know_reference(
        &mut self,
        (device, store): (&Device, &Store),
        kv: &impl Kv,
        of: usize,
        mut scores: Scores,
        go_on: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<()> {
        let Some(before) = self.objective.before_steps() else { return Ok(()) };
        let Some(selection) = [Some(&self.dataset), self.eval_dataset.as_ref()][of].cloned() else {
            return Ok(());
        };
        let size = self.options.rows_per_micro_batch();
        let is_known = |scores: &Scores, rows: &[u32]| rows.iter().all(|&row| !scores.of(row).is_nan());
        let mut ring = ReadbackRing::new(device, before.logps.size(), 1);
        let (mut done, all) = (0, selection.rows.len() as u64);
        let mut found = Vec::new();
        let mut kept_at = Instant::now();
        for numbers in selection.rows.chunks(size) {
            done += numbers.len() as u64;
            if is_known(&scores, numbers) {
                continue;
            }
            let parts = self.placed(fetched(kv, &selection, None, numbers).await?);
            for placed in parts {
                let slots: Vec<usize> = placed.part.answers.iter().map(|answer| answer.slot).collect();
                let in_step = InStep { micro_batches: 1, labelled: placed.batch.index.len(), texts: 1 };
                self.run_part(store, placed, &[before.passes], &in_step);
                let readback = ring.start(store, before.logps);
                let logps: Vec<f32> = ring.finish(readback).await?;
                found.extend(slots.iter().zip(logps).map(|(&slot, logp)| (numbers[slot], logp)));
            }
            let stops = !go_on(done, all);
            if stops || kept_at.elapsed() > KEEP_SCORES || done == all {
                scores.add(kv, &std::mem::take(&mut found)).await?;
                kept_at = Instant::now();
            }
            if stops {
                bail!(Cancelled, "the reference was stopped after {done} of {all} rows, which are kept");
            }
        }
        if !found.is_empty() {
            scores.add(kv, &found).await?;
        }
        self.references[of] = Some(scores);
        Ok(())
    }

    /// With `true`, no further step is submitted while one is on its way.
    pub fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// Whether no step is on its way.
    pub fn is_drained(&self) -> bool {
        self.pending.is_empty()
    }

    /// Waits for the steps that are on their way, without submitting another.
    pub async fn drain(&mut self, device: &Device) -> Result<Vec<StepLog>> {
        let mut logs = Vec::new();
        while let Some(pending) = self.pending.pop_front() {
            logs.push(self.finish(device, pending).await?);
        }
        Ok(logs)
    }

    /// How far the run is, once it is drained.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Skipped steps since the last one that was not.
    pub fn skipped_in_a_row(&self) -> u32 {
        self.skipped_in_a_row
    }

    /// The values that the next step depends on, as they are after all steps so far. A run whose steps can be made again
    /// on the model's own weights has none.
    pub fn state<'a>(&self, device: &'a Device, store: &'a Store) -> StoreState<'a> {
        match self.starts_as_model() {
            true => StoreState::empty(device, store),
            false => StoreState::new(device, store, &self.trained.parameters, &*self.method),
        }
    }

    /// Whether what learns started as the model's own weights, from which all steps can be made again.
    fn starts_as_model(&self) -> bool {
        self.is_made_again() && self.trained.lora.is_none()
    }

    /// Whether a checkpoint need not hold values where an earlier one does: what became of them since is in the log.
    pub fn is_made_again(&self) -> bool {
        self.method.is_made_again()
    }

    /// Makes the steps of `log` again that come after step `since`, at which the values of [`Trainer::state`] are; where it has
    /// none, all of them from the start.
    pub fn make_again(&mut self, device: &Device, store: &Store, since: u32, log: &[Line]) -> Result<()> {
        if since == 0 && self.starts_as_model() {
            self.trained.start_again(device, store, &self.target)?;
        }
        for line in log {
            let Line::Step(step) = line else { continue };
            if step.step > since && !step.skipped {
                self.method.write_again(store, &self.inputs, step);
                self.workspace.run(&self.programs.again, 0);
            }
        }
        Ok(())
    }

    /// Goes on from `progress`, whose values were written into [`Trainer::state`]. The run must be drained.
    pub fn go_on_from(&mut self, progress: Progress) {
        self.progress = progress;
        self.skipped_in_a_row = 0;
        self.next_rows = None;
        self.finished_at = None;
        self.pace.clear();
    }

    /// Whether the next step waits until step `done` has ended.
    fn waits(&self, done: u32) -> bool {
        self.is_held || self.eval_due(done) || self.save_due(done)
    }

    /// Whether `save_steps` asks for a checkpoint after step `done`.
    pub fn save_due(&self, done: u32) -> bool {
        let every = self.options.save_steps.map(|steps| every_steps(steps, self.total_steps()));
        every.is_some_and(|every| done > 0 && done.is_multiple_of(every))
    }

    /// Whether an evaluation comes between step `done` and the next.
    fn eval_due(&self, done: u32) -> bool {
        let every = self.options.eval_steps.map(|steps| every_steps(steps, self.total_steps()));
        self.eval_dataset.is_some() && every.is_some_and(|every| done > 0 && done.is_multiple_of(every))
    }

    async fn fetch(&mut self, rows: &impl Kv, step: u32) -> Result<Upcoming> {
        let began = Instant::now();
        let mut micro_batches = Vec::new();
        for numbers in self.batches.step(step).micro_batches {
            micro_batches.push(fetched(rows, &self.dataset, self.references[0].as_ref(), &numbers).await?);
        }
        Ok(Upcoming { step, micro_batches, millis: began.elapsed().as_secs_f64() * 1000.0 })
    }

    fn submit(&mut self, device: &Device, store: &Store, upcoming: Upcoming) -> Result<()> {
        let Upcoming { micro_batches, millis: data_millis, .. } = upcoming;
        let submitted_at = Instant::now();
        let step = self.progress.step;
        let learning_rate = self.schedule.learning_rate(step) * self.progress.learning_rate_scale;
        let numbers = self.progress.next_updates(self.pending.len() as u32);
        self.method.write(store, Update { step, learning_rate, numbers });

        let micro_batches: Vec<Vec<Placed>> =
            micro_batches.into_iter().map(|rows| self.placed(rows)).collect();
        let last = || micro_batches.iter().filter_map(|parts| parts.last());
        let tokens: usize = last().flat_map(|placed| &placed.part.rows).map(|row| row.ids.len()).sum();
        let in_step = InStep {
            micro_batches: micro_batches.len(),
            labelled: last().map(|placed| placed.batch.index.len()).sum(),
            texts: last().map(|placed| placed.batch.texts()).sum(),
        };
        let labelled = in_step.labelled as u64;
        let mut flops = self.workspace.run(&self.programs.begin, 0);
        for (number, parts) in micro_batches.into_iter().enumerate() {
            let seed =
                self.options.seed as u32 ^ (step * self.options.gradient_accumulation_steps + number as u32);
            store.write(self.inputs.dropout_seed, &[seed]);
            flops += self.run_parts(store, parts, Passes::Train, &in_step);
        }
        flops += self.workspace.run(&self.programs.end, 0);
        let readback = self.ring.start(store, self.inputs.report);

        self.progress.step += 1;
        self.progress.num_tokens += tokens as u64;
        let log = StepLog {
            step: step + 1,
            total_steps: self.total_steps(),
            epoch: self.batches.step(step).epoch,
            loss: 0.0,
            grad_norm: 0.0,
            learning_rate,
            num_tokens: self.progress.num_tokens,
            tokens_per_second: 0.0,
            step_millis: 0.0,
            data_millis,
            remaining_seconds: 0.0,
            peak_gpu_bytes: device.counters().peak_buffer_bytes(),
            eval_due: self.eval_due(step + 1),
            skipped: false,
            skipped_steps: 0,
            metrics: Metrics::new(),
            mezo: None,
        };
        self.pending.push_back(Pending {
            readback,
            log,
            tokens: tokens as u64,
            labelled,
            flops,
            submitted_at,
        });
        Ok(())
    }

    /// The parts of a micro-batch as the device wants them.
    fn placed(&self, rows: Vec<Fetched>) -> Vec<Placed> {
        let place = |part: Part| Placed { batch: FlatBatch::new(&part.rows, &self.views), part };
        self.objective.parts(rows).into_iter().map(place).collect()
    }

    /// Runs the parts of a micro-batch, the last one for `passes`; returns the floating-point operations.
    fn run_parts(&self, store: &Store, parts: Vec<Placed>, passes: Passes, in_step: &InStep) -> u64 {
        let run = |placed: Placed| {
            let mut passes_of_part = placed.part.before.clone();
            passes_of_part.extend((!placed.part.is_beside).then_some(passes));
            self.run_part(store, placed, &passes_of_part, in_step)
        };
        parts.into_iter().map(run).sum()
    }

    /// Runs one part for each of `passes`, which are recorded with the same dropout.
    fn run_part(&self, store: &Store, placed: Placed, passes: &[Passes], in_step: &InStep) -> u64 {
        let Placed { part, batch } = placed;
        let Some(&last) = passes.last() else { return 0 };
        self.method.write_texts(store, &Texts { ends: &batch.ends, in_step: in_step.texts });
        self.objective.write(store, &part, &batch, in_step);
        let weight = self.objective.token_weight(in_step);
        let (size, blocks, seen) = self.write_batch(store, batch, last, weight);
        let programs: Vec<ProgramId> =
            passes.iter().flat_map(|&passes| self.programs.of(passes, blocks)).collect();
        self.workspace.run_seeing(&programs, size, seen)
    }

    /// Writes rows; returns the recording that holds them, the loss blocks they need, and the share of the pairs of
    /// rows and keys that their spans let through.
    fn write_batch(
        &self,
        store: &Store,
        batch: FlatBatch,
        passes: Passes,
        weight: f32,
    ) -> (usize, usize, f64) {
        let (size, recording) = self.sizes.holding(batch.ids.len(), passes);
        let plan = self.inputs.loss_plan;
        let blocks = batch.index.len().div_ceil(plan.block);
        // What comes late is brought to all rows that a pass may have.
        let rows = if self.objective.comes_late() { plan.rows() } else { blocks * plan.block };
        let seen = self.inputs.write(store, batch, [size, rows], weight, self.padding_id);
        (recording, blocks, seen)
    }

    async fn finish(&mut self, device: &Device, pending: Pending) -> Result<StepLog> {
        let Pending { readback, mut log, tokens, labelled, flops, submitted_at } = pending;
        let (report, finished): (Vec<f32>, _) = self.ring.finish_timed(readback).await?;
        let began = self.finished_at.map_or(submitted_at, |before| before.max(submitted_at));
        let since = finished.duration_since(began).as_secs_f64();
        self.finished_at = Some(finished);
        self.pace.saw(Seen { seconds: since, tokens, flops });
        let (seconds, flops) = self.pace.step(self.in_flight);
        device.learn_speed(flops, seconds);

        let tally: Vec<f64> = report[..TALLY_VALUES].iter().copied().map(f64::from).collect();
        (log.loss, log.metrics) = self.objective.read(&tally, labelled);
        self.method.read(&report, &mut log);
        self.skipped_in_a_row = if log.skipped { self.skipped_in_a_row + 1 } else { 0 };
        self.progress.skipped_steps += u32::from(log.skipped);
        self.progress.not_applied += u32::from(log.skipped);
        log.skipped_steps = self.progress.skipped_steps;
        log.step_millis = seconds * 1000.0;
        log.tokens_per_second = self.pace.tokens_per_second();
        log.remaining_seconds = f64::from(log.total_steps - log.step) * self.pace.seconds_per_step()
            + self.seconds_of_evaluations(log.step, log.tokens_per_second);
        Ok(log)
    }

    /// Seconds of the evaluations that come after step `done`. Before one was timed it is taken to be three times
    /// as fast as training, which goes through the model twice more.
    fn seconds_of_evaluations(&self, done: u32, tokens_per_second: f64) -> f64 {
        let (Some(held_out), Some(every)) = (&self.eval_dataset, self.options.eval_steps) else { return 0.0 };
        let total = self.total_steps();
        let every = every_steps(every, total).max(1);
        let due = total / every - done.saturating_sub(1) / every;
        let lengths = &held_out.set.index.lengths;
        let guessed = || {
            let tokens: u64 = held_out.rows.iter().map(|&row| u64::from(lengths[row as usize])).sum();
            tokens as f64 / (3.0 * tokens_per_second)
        };
        f64::from(due) * self.eval_seconds.unwrap_or_else(guessed)
    }

    /// The loss on the held-out rows after all steps so far. `go_on` is asked before each batch of them.
    ///
    /// # Errors
    ///
    /// `bad-state` where there are none; `cancelled` where `go_on` says no, which changes nothing.
    pub async fn evaluate(
        &mut self,
        store: &Store,
        rows: &impl Kv,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<EvalLog> {
        let Some(held_out) = &self.eval_dataset else {
            bail!(BadState, "there is no dataset to evaluate on")
        };
        let began = Instant::now();
        let (mut tally, mut tokens) = ([0.0; TALLY_VALUES], 0);
        for numbers in held_out.rows.chunks(self.options.rows_per_micro_batch()) {
            if !go_on() {
                bail!(Cancelled, "the evaluation was stopped");
            }
            let rows = fetched(rows, held_out, self.references[1].as_ref(), numbers).await?;
            let parts = self.placed(rows);
            let of_last = parts.last().map(|placed| (placed.batch.index.len(), placed.part.answers.len()));
            let (labelled, answers) = of_last.unwrap_or_default();
            tokens += labelled as u64;
            self.workspace.run(&self.programs.begin_eval, 0);
            let in_step = InStep { micro_batches: 1, labelled, texts: 1 };
            self.run_parts(store, parts, Passes::Evaluate, &in_step);
            let readback = self.eval_ring.start(store, self.inputs.report);
            let report: Vec<f32> = self.eval_ring.finish(readback).await?;
            // Means over the answers of a batch count by these.
            let weight = answers.max(1) as f64;
            tally.iter_mut().zip(report).for_each(|(sum, value)| *sum += weight * f64::from(value));
        }
        let (eval_loss, metrics) = self.objective.read(&tally, tokens);
        let metrics = metrics.into_iter().map(|(name, value)| (format!("eval_{name}"), value)).collect();
        let rows = (held_out.rows.len() / self.options.rows_per_unit()) as u64;
        self.eval_seconds = Some(began.elapsed().as_secs_f64());
        // Time spent here is no training step's.
        self.finished_at = Some(Instant::now());
        Ok(EvalLog { step: self.progress.step, eval_loss, tokens, rows, metrics })
    }

    /// Seconds and floating-point operations of each dispatch of one micro-batch and the optimiser's
    /// step, by shader, on whatever the inputs hold. What learns is not to be used afterwards.
    pub async fn profile(&self) -> Vec<(&str, f64, u64)> {
        self.workspace.profile(&self.one_step(), 0).await
    }

    /// Seconds for which the GPU works on one micro-batch and the optimiser's step, on whatever the inputs hold;
    /// see [`Workspace::busy_seconds`]. What learns is not to be used afterwards.
    pub async fn busy_seconds(&self) -> Result<Option<f64>> {
        self.workspace.busy_seconds(&self.one_step(), 0).await
    }

    fn one_step(&self) -> Vec<ProgramId> {
        let mut programs = self.programs.of(Passes::Train, self.inputs.loss_plan.blocks);
        programs.extend(&self.programs.end);
        programs
    }

    /// Reads what learns, as it is after all steps so far, or the gradients of the last step before they were clipped;
    /// see [`Trainer::set_pipelined`].
    pub fn reader<'a>(&'a self, device: &Device, store: &'a Store, part: ParameterPart) -> Reader<'a> {
        self.trained.parameters.reader(device, store, part)
    }
}
