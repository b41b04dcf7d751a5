//! The run: its step is recorded once for every size a micro-batch may have, then replayed.

mod evaluate;
mod reference;

use std::collections::VecDeque;

use web_time::Instant;

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
use crate::train::batch::FlatBatch;
use crate::train::log::{Line, Metrics, StepLog};
use crate::train::objective::{Fetched, InStep, Objective, Part};
use crate::train::options::{TrainOptions, every_steps};
use crate::train::pace::{Pace, Seen};
use crate::train::planning::{EVALS_IN_FLIGHT, Footprint, IN_FLIGHT, RunPlan, Sizes};
use crate::train::saved::Progress;
use crate::train::schedule::Schedule;
use crate::train::state::StoreState;
use crate::train::step::{Inputs, Method, Passes, Programs, REPORT_BYTES, TALLY_VALUES, Texts, Update};

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
    /// The step after which no further one is submitted.
    end: u32,
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
    kv: &dyn Kv,
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
            end: batches.total_steps(),
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

    /// Lets no step be made after step `end`, or after the last one where none is said.
    pub fn set_end(&mut self, end: Option<u32>) {
        self.end = end.unwrap_or(u32::MAX).min(self.total_steps());
    }

    /// Does one optimiser step and returns its log, or `None` after the last one; see [`Trainer::set_end`].
    ///
    /// While this waits for a step, the next one is already with the GPU.
    ///
    /// A step whose loss or gradient is NaN or infinite has changed nothing and says so. Code
    /// `device-lost` where the GPU is gone.
    pub async fn step(&mut self, device: &Device, store: &Store, rows: &dyn Kv) -> Result<Option<StepLog>> {
        while self.pending.len() < self.in_flight
            && self.progress.step < self.end
            && (self.pending.is_empty() || !self.waits(self.progress.step))
        {
            let upcoming = match self.next_rows.take().filter(|next| next.step == self.progress.step) {
                Some(next) => next,
                None => self.fetch(rows, self.progress.step).await?,
            };
            self.submit(device, store, upcoming)?;
            if self.progress.step < self.end {
                self.next_rows = Some(self.fetch(rows, self.progress.step).await?);
            }
        }
        match self.pending.pop_front() {
            Some(pending) => self.finish(device, pending).await.map(Some),
            None => Ok(None),
        }
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

    /// Gives an entry of what learns other values, all of them; see [`Parameters::write`](crate::model::Parameters::write).
    pub fn write(&self, store: &Store, name: &str, values: &[f32]) -> Result<()> {
        let parameters = &self.trained.parameters;
        parameters.write(store, name, values)?;
        let entry = parameters.entries().iter().find(|entry| entry.name == name);
        let places = entry.map_or(&[][..], |entry| &entry.places[..]);
        self.round(|segment| places.iter().any(|place| place.segment == segment));
        Ok(())
    }

    /// Has passes read what was written into [`Trainer::state`], where that has masters of what they read.
    pub fn round_all(&self) {
        self.round(|_| true);
    }

    fn round(&self, is_meant: impl Fn(usize) -> bool) {
        let meant = self.programs.rounding.iter().filter(|(segment, _)| is_meant(*segment));
        let programs: Vec<ProgramId> = meant.map(|(_, program)| *program).collect();
        if !programs.is_empty() {
            self.workspace.run(&programs, 0);
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

    /// Goes on from step `step` with what the method keeps of the steps before forgotten, as a run that begins there would. The
    /// run must be drained.
    ///
    /// # Errors
    ///
    /// `bad-option` for a method whose steps have to be made again from the run's start.
    pub fn begin_at(&mut self, store: &Store, step: u32) -> Result<()> {
        if self.is_made_again() {
            bail!(
                BadOption,
                "rounds need an optimizer that goes back through the model, not train.optim \"mezo\""
            );
        }
        let segments = 0..self.trained.parameters.segments().len();
        let of_segments = segments.flat_map(|segment| self.method.kept(segment)).map(|(_, tensor)| tensor);
        let of_matrices = self.method.kept_of_matrices().into_iter().map(|(_, tensor)| tensor);
        of_segments.chain(of_matrices).for_each(|tensor| store.clear(tensor));
        let before = self.progress.clone();
        self.go_on_from(Progress { step, not_applied: step, ..before });
        Ok(())
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

    async fn fetch(&mut self, rows: &dyn Kv, step: u32) -> Result<Upcoming> {
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
