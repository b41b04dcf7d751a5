//! Rounds of learning together: what learns is exchanged for what others made of it, and a few steps are made from there.

use serde::Serialize;

use super::{Saving, Session};
use crate::bail;
use crate::error::Result;
use crate::model::{Entry, ParameterPart};

/// A matrix or a vector of what is exchanged, row-major.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayoutEntry {
    /// As PEFT has it, e.g. `model.layers.0.self_attn.q_proj.lora_A.weight`.
    pub name: String,
    pub rows: usize,
    /// 1 for a vector.
    pub cols: usize,
}

/// What the prepared run exchanges, in the model's order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layout {
    pub learns: Vec<LayoutEntry>,
    /// What belongs to it and stays as it came.
    pub frozen: Vec<LayoutEntry>,
    /// The last step that was made.
    pub step: u32,
    pub total_steps: u32,
}

impl Session {
    /// What of the prepared run rounds exchange.
    pub fn layout(&mut self) -> Result<Layout> {
        let entries = |entries: &[Entry]| {
            let entry = |entry: &Entry| {
                let [rows, cols] = entry.size();
                LayoutEntry { name: entry.name.clone(), rows, cols }
            };
            entries.iter().map(entry).collect()
        };
        let trainer = self.trainer()?;
        let parameters = &trainer.trained().parameters;
        Ok(Layout {
            learns: entries(parameters.entries()),
            frozen: entries(parameters.frozen_entries()),
            step: trainer.progress().step,
            total_steps: trainer.total_steps(),
        })
    }

    /// The values of an entry of the [`Layout`], after all steps so far.
    pub async fn values(&mut self, name: &str) -> Result<Vec<f32>> {
        let (device, _, store, run) = self.running()?;
        run.trainer.reader(device, store, ParameterPart::Values).whole(name).await
    }

    /// Gives an entry of the [`Layout`] other values, all of them.
    ///
    /// # Errors
    ///
    /// `bad-option` for a name that there is not, another number of values, or one that is not finite.
    pub async fn set_values(&mut self, name: &str, values: &[f32]) -> Result<()> {
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            bail!(BadOption, "value {at} of {name} is {}, not a finite number", values[at]);
        }
        let (device, _, store, run) = self.running()?;
        // A step that is on its way would still learn from what is replaced.
        run.trainer.drain(device).await?;
        run.trainer.write(store, name, values)
    }

    /// Lets the next step be `step`, counted from zero, with the optimizer's moments as at a run's start: rows, masks of dropout
    /// and the learning rate are those of that step. A run with a name is saved, so that a kill after this goes on from here.
    ///
    /// # Errors
    ///
    /// `bad-option` for a step that the run has not, and for runs that learn without a gradient.
    pub async fn begin_at(&mut self, step: u32) -> Result<Option<Saving>> {
        let (device, _, store, run) = self.running()?;
        if step >= run.trainer.total_steps() {
            bail!(
                BadOption,
                "the run has {} steps, and none with the number {step}",
                run.trainer.total_steps()
            );
        }
        run.trainer.drain(device).await?;
        run.trainer.begin_at(store, step)?;
        Ok(self.save_checkpoint().await?.1)
    }
}
