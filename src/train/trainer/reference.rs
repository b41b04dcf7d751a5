//! What the reference of an objective makes of a run's rows, before the first step.

use std::time::Duration;

use web_time::Instant;

use super::{Trainer, fetched};
use crate::bail;
use crate::data::kv::Kv;
use crate::data::scores::Scores;
use crate::device::{Device, ReadbackRing, Store};
use crate::error::Result;
use crate::train::objective::InStep;

/// How long log-probabilities of the reference are computed before they are kept.
const KEEP_SCORES: Duration = Duration::from_secs(1);

impl Trainer {
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
        kv: &dyn Kv,
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
            if stops || kept_at.elapsed() > KEEP_SCORES {
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
}
