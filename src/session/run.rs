//! A prepared run: its steps, its log, and the checkpoints it leaves behind.

use std::ops::Deref;

use serde::Serialize;
use web_time::Instant;

use crate::bail;
use crate::data::kv::Kv;
use crate::data::notice::Notice;
use crate::device::{Device, Store};
use crate::error::{Code, Error, Result};
use crate::kernels::tiles::Tiles;
use crate::train::options::OnNotFinite;
use crate::train::saved::{self, Found, Header, Identity, Keep, LogRecords, RunRecord, State};
use crate::train::{EvalLog, Line, StepLog, StoreState, Trainer};

/// Skipped steps in a row after which a run goes back or stops.
const SKIPPED_IN_A_ROW: u32 = 3;
/// How often a run goes back before it stops.
const REWINDS: u32 = 3;
/// Steps at the end of a run whose loss says whether anything was learnt.
const LAST_STEPS: usize = 5;
/// The share of the loss of guessing from which on a run has learnt nothing.
const NEAR_CHANCE: f64 = 0.97;

/// A step's line of the log, and what happened to the run beside it.
#[derive(Clone, Debug, Serialize)]
pub struct RunLog {
    #[serde(flatten)]
    pub log: StepLog,
    /// Whether a checkpoint was due after this step, and what became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Saving>,
    /// The step that the run went back to, because steps in a row were not finite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewound_to: Option<u32>,
    /// What is worth knowing of the run, with its last step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
}

/// A run's line has all that a step's has.
impl Deref for RunLog {
    type Target = StepLog;

    fn deref(&self) -> &StepLog {
        &self.log
    }
}

/// What became of a checkpoint.
#[derive(Clone, Debug, Serialize)]
pub struct Saving {
    pub step: u32,
    pub bytes: u64,
    pub millis: f64,
    /// Whether the checkpoints before it are gone, because the browser cleared its storage.
    pub cleared: bool,
    /// Why it was not saved; the one before is still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<SavingError>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SavingError {
    pub code: &'static str,
    pub message: String,
}

/// Where a resumed run was taken up.
#[derive(Clone, Debug, Serialize)]
pub struct Resumed {
    pub step: u32,
    /// The log up to there.
    pub log: Vec<Line>,
    /// Steps of later checkpoints that were damaged or gone.
    pub damaged: Vec<u32>,
}

/// The best evaluation of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Best {
    pub step: u32,
    pub metric: f64,
}

/// A run and its place in the store, if it has a name.
pub struct Run {
    pub trainer: Trainer,
    name: Option<String>,
    identity: Identity,
    tiles: Tiles,
    /// See [`Device::flavour`].
    device: String,
    /// The loss of a model that knows nothing: the logarithm of the vocabulary's size.
    chance: f64,
    log: Vec<Line>,
    /// Which lines of the log are in the store.
    kept: LogRecords,
    saved_at: Instant,
    /// Checkpoints of this run in the store, as far as is known.
    saved: usize,
    /// The checkpoint whose values the next ones begin with, where steps since can be made again from the log.
    start: Option<u32>,
    /// The step of the best evaluation whose checkpoint is kept, and what that told.
    best: Option<Best>,
    /// Whether what learnt is what the best evaluation was of, after which no step is made.
    is_ended: bool,
    /// Whether the adapter is in part that of a checkpoint whose reading failed.
    is_torn: bool,
}

impl Run {
    /// `chance` is the loss of a model that knows nothing.
    pub fn new(
        trainer: Trainer,
        name: Option<&str>,
        identity: Identity,
        tiles: Tiles,
        device: String,
        chance: f64,
    ) -> Self {
        let name = name.map(str::to_owned);
        let (log, kept) = (Vec::new(), LogRecords::default());
        Run {
            trainer,
            name,
            identity,
            tiles,
            device,
            chance,
            log,
            kept,
            saved_at: Instant::now(),
            saved: 0,
            start: None,
            best: None,
            is_ended: false,
            is_torn: false,
        }
    }

    /// Takes the run, which has a name, to where the checkpoint `found` was saved.
    pub async fn restore(&mut self, device: &Device, store: &Store, kv: &dyn Kv, found: Found) -> Result<()> {
        found.header.identity.expect(&self.identity)?;
        self.take_values(device, store, kv, &found).await?;
        let record = RunRecord::load(kv, self.name.as_deref().unwrap_or_default()).await?;
        let best = record.best().and_then(|saved| Some(Best { step: saved.step, metric: saved.metric? }));
        self.best = best.filter(|best| best.step <= found.header.progress.step);
        let Found { header, log, kept, .. } = found;
        self.identity.init_adapter = header.identity.init_adapter;
        self.trainer.go_on_from(header.progress);
        (self.log, self.kept) = (log, kept);
        // As many as were kept stay kept.
        self.saved = self.trainer.options().save_total_limit as usize;
        Ok(())
    }

    /// Takes the values of a checkpoint.
    async fn take_values(
        &mut self,
        device: &Device,
        store: &Store,
        kv: &dyn Kv,
        found: &Found,
    ) -> Result<()> {
        let name = self.name.as_deref().unwrap_or_default();
        self.is_torn = true;
        saved::restore(kv, name, found, &mut self.trainer.state(device, store)).await?;
        self.trainer.round_all();
        if self.trainer.is_made_again() {
            let (values, header) = found.values();
            let has_values = !header.tensors.is_empty();
            self.start = has_values.then_some(values.id());
            let since = if has_values { values.step } else { 0 };
            self.trainer.make_again(device, store, since, &found.log)?;
        }
        self.is_torn = false;
        Ok(())
    }

    /// Puts what the best evaluation was of in place of what learnt last. No step is made after that, and nothing saved.
    ///
    /// # Errors
    ///
    /// `bad-state` where none was kept: the run has no name, or `load_best_model_at_end` was not asked for.
    pub async fn load_best(&mut self, device: &Device, store: &Store, kv: &dyn Kv) -> Result<Best> {
        let none = || {
            Error::new(
                Code::BadState,
                "no best model was kept: give the run a run_name, train.load_best_model_at_end and train.eval_steps",
            )
        };
        let name = self.name.as_deref().ok_or_else(none)?;
        let (found, metric) = saved::best(kv, name).await?.ok_or_else(none)?;
        found.header.identity.expect(&self.identity)?;
        self.trainer.drain(device).await?;
        self.take_values(device, store, kv, &found).await?;
        self.is_ended = true;
        Ok(Best { step: found.header.progress.step, metric })
    }

    /// Whether the storage failed while the run went back to a checkpoint: what it has learnt is then neither what it
    /// had nor what was saved.
    pub fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// The lines of the log so far.
    pub fn log(&self) -> &[Line] {
        &self.log
    }

    /// One optimiser step, and a checkpoint after it if one is due; `None` after the last step.
    ///
    /// # Errors
    ///
    /// `not-finite` after three steps in a row whose loss or gradient was not finite, where the run may
    /// not go back to a checkpoint. `device-lost`.
    pub async fn step(&mut self, device: &Device, store: &Store, kv: &dyn Kv) -> Result<Option<RunLog>> {
        if self.is_ended {
            return Ok(None);
        }
        let Some(log) = self.trainer.step(device, store, kv).await? else { return Ok(None) };
        self.log.push(Line::Step(log.clone()));
        let mut line = RunLog { log, checkpoint: None, rewound_to: None, notice: None };
        if self.trainer.skipped_in_a_row() >= SKIPPED_IN_A_ROW {
            line.rewound_to = Some(self.rewind(device, store, kv, &line.log).await?);
            // The halved rate has to outlive this tab, like the steps that are made with it.
            line.checkpoint = self.save(device, store, kv).await?;
            return Ok(Some(line));
        }
        if line.log.step == line.log.total_steps {
            line.notice = self.learnt_nothing();
        }
        if self.name.is_some() {
            let seconds = self.trainer.options().save_seconds;
            let is_late = seconds.is_some_and(|seconds| self.saved_at.elapsed().as_secs_f64() >= seconds);
            let is_last = line.log.step == line.log.total_steps;
            let is_due = is_late || is_last || self.trainer.save_due(line.log.step);
            // What is on its way has to end first; the step after it then finds the checkpoint due.
            self.trainer.hold(is_due);
            if is_due && self.trainer.is_drained() {
                line.checkpoint = self.save(device, store, kv).await?;
                self.trainer.hold(false);
            }
        }
        Ok(Some(line))
    }

    /// Told of a run whose last steps are as bad as chance, or worse.
    fn learnt_nothing(&self) -> Option<Notice> {
        let losses = self.log.iter().rev().filter_map(|line| match line {
            Line::Step(log) => Some(log.loss),
            Line::Eval(_) => None,
        });
        let last: Vec<f64> = losses.take(LAST_STEPS).collect();
        let mean = last.iter().sum::<f64>() / last.len() as f64;
        // A loss that is not finite is no less bad.
        if last.len() < LAST_STEPS || mean < NEAR_CHANCE * self.chance {
            return None;
        }
        let message = format!(
            "the loss of the last {LAST_STEPS} steps is {mean:.3}, and {:.3} is what guessing gives: nothing was \
             learnt; a lower learning_rate is what helps most often",
            self.chance
        );
        Some(Notice::new("loss-at-chance", message))
    }

    /// The loss on the held-out rows, which joins the log, unless `go_on` says no before it is known.
    pub async fn evaluate(
        &mut self,
        (device, store): (&Device, &Store),
        kv: &dyn Kv,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<EvalLog> {
        let log = self.trainer.evaluate(store, kv, go_on).await?;
        self.log.push(Line::Eval(log.clone()));
        self.keep_if_best(device, store, kv, &log).await?;
        Ok(log)
    }

    /// Keeps a checkpoint of what was evaluated, where that is better than all before it. One that cannot be stored leaves
    /// the best before it in its place.
    async fn keep_if_best(
        &mut self,
        device: &Device,
        store: &Store,
        kv: &dyn Kv,
        log: &EvalLog,
    ) -> Result<()> {
        let options = self.trainer.options();
        let (name, step) = (&options.metric_for_best_model, log.step);
        let keeps = options.load_best_model_at_end && !self.is_ended && self.trainer.is_drained();
        let Some(run) = self.name.clone().filter(|_| keeps) else { return Ok(()) };
        let Some(metric) = log.metric(name) else {
            let names: Vec<&str> = log.names().collect();
            bail!(
                BadOption,
                "train.metric_for_best_model is {name:?}, which an evaluation does not tell; it tells {}",
                names.join(", ")
            );
        };
        if metric.is_nan() || self.best.is_some_and(|best| !options.is_better(metric, best.metric)) {
            return Ok(());
        }
        let marked = match self.saved {
            0 => Ok(false),
            _ => saved::mark_best(kv, &run, step, metric).await,
        };
        let kept = match marked {
            Ok(true) => true,
            Ok(false) => {
                let saving = self.save_as(device, store, kv, Some(metric)).await?;
                saving.is_some_and(|saving| saving.error.is_none())
            }
            Err(_) => false,
        };
        if kept {
            self.best = Some(Best { step, metric });
        }
        Ok(())
    }

    /// Saves a checkpoint of all steps so far, whatever is due; `None` for a run without a name. Logs of
    /// steps that had been on their way come with it.
    pub async fn save_now(
        &mut self,
        device: &Device,
        store: &Store,
        kv: &dyn Kv,
    ) -> Result<(Vec<StepLog>, Option<Saving>)> {
        let logs = self.trainer.drain(device).await?;
        self.log.extend(logs.iter().cloned().map(Line::Step));
        Ok((logs, self.save(device, store, kv).await?))
    }

    /// A checkpoint that cannot be stored is told and does not end the run; a lost GPU does.
    async fn save(&mut self, device: &Device, store: &Store, kv: &dyn Kv) -> Result<Option<Saving>> {
        self.save_as(device, store, kv, None).await
    }

    /// The same; `best` is what the best evaluation told, where it was of what is saved.
    async fn save_as(
        &mut self,
        device: &Device,
        store: &Store,
        kv: &dyn Kv,
        best: Option<f64>,
    ) -> Result<Option<Saving>> {
        let Some(name) = self.name.as_ref().filter(|_| !self.is_ended) else { return Ok(None) };
        let began = Instant::now();
        let (identity, progress) = (self.identity.clone(), self.trainer.progress().clone());
        let mut header = Header::new(identity, progress, self.tiles.clone(), &self.device);
        let step = header.progress.step;
        let mut record = RunRecord::load(kv, name).await;
        if let Ok(record) = &mut record
            && self.saved == 0
        {
            record.forget_best();
        }
        let cleared = self.saved > 0 && record.as_ref().is_ok_and(|record| record.saved.is_empty());
        if cleared {
            self.kept = LogRecords::default();
            self.start = None;
        }
        header.start = self.start;
        // The first checkpoint of a run that begins anew takes the place of those of the one before.
        let keep = (self.trainer.options().save_total_limit as usize).min(self.saved + 1);
        let mut state = match self.start {
            Some(_) => StoreState::empty(device, store),
            None => self.trainer.state(device, store),
        };
        let is_start = self.trainer.is_made_again() && !state.tensors().is_empty();
        let saved = match record {
            Ok(record) => {
                let log = (self.log.as_slice(), &mut self.kept);
                saved::save(kv, name, record, (header, &mut state), log, Keep { last: keep, best }).await?
            }
            Err(error) => Err(error),
        };
        self.saved_at = Instant::now();
        let millis = began.elapsed().as_secs_f64() * 1000.0;
        Ok(Some(match saved {
            Ok(saved) => {
                self.saved = keep;
                if is_start {
                    self.start = Some(saved.id());
                }
                Saving { step, bytes: saved.bytes, millis, cleared, error: None }
            }
            Err(error) => {
                let error = SavingError { code: error.code.as_str(), message: error.to_string() };
                Saving { step, bytes: 0, millis, cleared, error: Some(error) }
            }
        }))
    }

    /// Goes back to the last checkpoint with half the learning rate. Steps on their way are given up.
    async fn rewind(&mut self, device: &Device, store: &Store, kv: &dyn Kv, log: &StepLog) -> Result<u32> {
        let stopped = |why: &str| {
            Error::new(
                Code::NotFinite,
                format!(
                    "steps {} to {}: loss or gradient were not finite (the last loss is {}, the norm {}), none \
                     was applied{why}",
                    log.step + 1 - SKIPPED_IN_A_ROW,
                    log.step,
                    log.loss,
                    log.grad_norm
                ),
            )
        };
        if self.trainer.options().on_not_finite == OnNotFinite::Stop {
            return Err(stopped(""));
        }
        let Some(name) = &self.name else {
            return Err(stopped("; without a run_name there is no checkpoint"));
        };
        // What lies under the name before this run has saved anything is of the run before it.
        let latest = if self.saved > 0 { saved::latest(kv, name).await? } else { None };
        let Some(mut found) = latest else {
            return Err(stopped("; there is no checkpoint to go back to"));
        };
        self.trainer.drain(device).await?;
        let before = self.trainer.progress().clone();
        if before.rewinds == REWINDS {
            return Err(stopped("; the run went back three times already"));
        }
        found.header.progress.learning_rate_scale = before.learning_rate_scale / 2.0;
        found.header.progress.skipped_steps = before.skipped_steps;
        found.header.progress.rewinds = before.rewinds + 1;
        let step = found.header.progress.step;
        self.restore(device, store, kv, found).await?;
        Ok(step)
    }
}
