//! Held-out rows: what they are evaluated to, and how long that takes.

use web_time::Instant;

use super::{Trainer, fetched};
use crate::bail;
use crate::data::kv::Kv;
use crate::device::Store;
use crate::error::Result;
use crate::train::log::EvalLog;
use crate::train::objective::InStep;
use crate::train::options::every_steps;
use crate::train::step::{Passes, TALLY_VALUES};

impl Trainer {
    /// Seconds of the evaluations that come after step `done`. Before one was timed it is taken to be three times
    /// as fast as training, which goes through the model twice more.
    pub(super) fn seconds_of_evaluations(&self, done: u32, tokens_per_second: f64) -> f64 {
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
        rows: &dyn Kv,
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
}
