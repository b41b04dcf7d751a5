//! What a checkpoint says before its values.

use serde::{Deserialize, Deserializer, Serialize};

use super::Identity;
use crate::device::GPU;
use crate::kernels::tiles::Tiles;

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Optimiser steps done, skipped ones included.
    pub step: u32,
    pub num_tokens: u64,
    /// What the schedule's learning rate is multiplied by.
    pub learning_rate_scale: f64,
    /// Steps that were not applied because something was not finite.
    pub skipped_steps: u32,
    /// How often the run went back to a checkpoint because of such steps.
    pub rewinds: u32,
    /// Of the `step` steps those that were not applied, which AdamW does not count; `skipped_steps` has those that
    /// the run went back over too. Runs that did not note it count all of their steps on.
    pub not_applied: u32,
}

impl Progress {
    /// Which updates the next step may be, counted from 1, while `pending` steps before it, one at most, are on their
    /// way: where that is not applied, and where it is.
    pub fn next_updates(&self, pending: u32) -> [u32; 2] {
        let last = self.step.saturating_sub(self.not_applied);
        [(last + 1).saturating_sub(pending), last + 1]
    }
}

impl Default for Progress {
    fn default() -> Self {
        Progress {
            step: 0,
            num_tokens: 0,
            learning_rate_scale: 1.0,
            skipped_steps: 0,
            rewinds: 0,
            not_applied: 0,
        }
    }
}

/// A tensor of the run: f32, flat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorShape {
    pub name: String,
    pub values: u64,
}

/// What a checkpoint says before its values. What a build before did not write has its default, and what a build
/// after wrote is ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    pub identity: Identity,
    pub progress: Progress,
    /// The tiles that the tuner chose: others would change last bits. `None` where one of them is none that
    /// this build has.
    #[serde(deserialize_with = "known")]
    pub tiles: Option<Tiles>,
    /// What computes the run, as [`Device::flavour`](crate::device::Device::flavour) has it; builds before it was noted
    /// knew GPUs alone.
    pub device: Option<String>,
    /// Lines of the log so far.
    pub lines: usize,
    /// The checkpoint of the same run that has the values, from which the steps of the log lead to this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<u32>,
    pub tensors: Vec<TensorShape>,
    /// XXH3-128 of each piece of values, in their order.
    pub(super) pieces: Vec<String>,
}

impl Header {
    pub fn new(identity: Identity, progress: Progress, tiles: Tiles, device: &str) -> Self {
        Header {
            identity,
            progress,
            tiles: Some(tiles),
            device: Some(device.to_owned()),
            ..Header::default()
        }
    }

    /// What computes the run.
    pub fn device(&self) -> &str {
        self.device.as_deref().unwrap_or(GPU)
    }
}

/// Tiles, unless this build does not know one of them.
pub(super) fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Tiles>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_counted_without_the_steps_that_were_not_applied() {
        let started = Progress::default();
        assert_eq!(started.next_updates(0), [1, 1]);
        let running = Progress { step: 5, not_applied: 2, ..Progress::default() };
        assert_eq!(running.next_updates(0), [4, 4]);
        // The fifth step is on its way: if it is not applied, the sixth is the third update.
        assert_eq!(running.next_updates(1), [3, 4]);
    }

    /// What was saved before the count was kept goes on as it was trained.
    #[test]
    fn progress_without_the_count_has_all_steps_applied() {
        let saved = r#"{"step":7,"num_tokens":9,"learning_rate_scale":0.5,"skipped_steps":3,"rewinds":1}"#;
        let progress: Progress = serde_json::from_str(saved).unwrap();
        assert_eq!((progress.not_applied, progress.next_updates(0)), (0, [8, 8]));
    }
}
