//! A run at the end of a step, as bytes: all that the next step depends on.
//!
//! Which rows a step takes, its dropout masks and its learning rate are functions of the step's number and
//! the options, so the number stands for the data's cursor, the random state and the schedule.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

use super::log::Line;
use super::options::{QuantizationOptions, TrainOptions};
use crate::adapter::LoraConfig;
use crate::bail;
use crate::error::{Code, Error, Result};
use crate::model::tiles::Tiles;

const MAGIC: &[u8] = b"tabtune checkpoint 1\n";
const HASH_BYTES: usize = 16;

/// What a run was made from. A checkpoint is taken up by a run that was made from the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Of config and weights.
    pub model: String,
    /// Of the rows and of what made them tokens.
    pub dataset: String,
    pub eval_dataset: Option<String>,
    /// Of the adapter that it began from, empty without one. `None` in runs that did not note it.
    #[serde(default)]
    pub init_adapter: Option<String>,
    /// The options by part, e.g. `{"train": {"seed": 42}}`, defaults included.
    pub options: Map<String, Value>,
}

impl Identity {
    /// Fails with code `bad-option` or `bad-state`, saying what differs, unless `self`, which was saved, is
    /// `now`.
    pub fn expect(&self, now: &Identity) -> Result<()> {
        // A checkpoint has the adapter in it, whatever it began from.
        let now = Identity { init_adapter: self.init_adapter.clone(), ..now.clone() };
        match self.difference(&now) {
            None => Ok(()),
            Some((Code::BadOption, difference)) => bail!(
                BadOption,
                "{difference} in the run that is to be resumed; to train on with other options, save its adapter \
                 and begin a run with that as init_adapter"
            ),
            Some((code, difference)) => {
                Err(Error::new(code, format!("the checkpoint is of a run {difference}")))
            }
        }
    }

    /// In what `self`, which was saved, is not `now`: code `bad-option` where an option differs, `bad-state`
    /// where it is model or rows. An option that `self` does not know had its default.
    pub fn difference(&self, now: &Identity) -> Option<(Code, String)> {
        if self.model != now.model {
            return Some((Code::BadState, "on another model".to_owned()));
        }
        if self.dataset != now.dataset {
            return Some((Code::BadState, "on another dataset".to_owned()));
        }
        if self.eval_dataset != now.eval_dataset {
            return Some((Code::BadState, "with other held-out rows".to_owned()));
        }
        if self.init_adapter.is_some() && self.init_adapter != now.init_adapter {
            return Some((Code::BadState, "that began from another adapter".to_owned()));
        }
        let defaults = Identity::of_defaults();
        now.options.iter().find_map(|(part, options)| {
            options.as_object()?.iter().find_map(|(option, value)| {
                let of = |options: &Map<String, Value>| options.get(part)?.get(option).cloned();
                let before = of(&self.options).or_else(|| of(&defaults)).unwrap_or_default();
                let differs = || (Code::BadOption, format!("{part}.{option} is {value}, but was {before}"));
                (before != *value).then(differs)
            })
        })
    }

    /// The options of a run that says nothing, by part.
    fn of_defaults() -> Map<String, Value> {
        let plain = |options: serde_json::Result<Value>| options.expect("options are plain data");
        Map::from_iter([
            ("train".to_owned(), TrainOptions::default().identity().into()),
            ("lora".to_owned(), plain(serde_json::to_value(LoraConfig::default()))),
            ("quantization".to_owned(), plain(serde_json::to_value(QuantizationOptions::default()))),
        ])
    }
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    #[serde(default)]
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

/// A run at the end of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    pub header: Header,
    /// Parameters and both moments of each segment of the adapter, flat.
    pub tensors: Vec<Vec<f32>>,
}

/// What stands before the tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub identity: Identity,
    pub progress: Progress,
    /// The tiles that the tuner chose: others would change last bits.
    pub tiles: Tiles,
    /// The lines of the log so far.
    pub log: Vec<Line>,
}

impl Header {
    /// The header of a checkpoint of which these are the first bytes, if they reach far enough.
    pub fn at_start_of(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        serde_json::from_slice(rest.get(..length)?).ok()
    }
}

impl Checkpoint {
    /// Magic, the length of the header (u64), the header as JSON, each tensor as its length (u64) and its
    /// values, and XXH3-128 of all that; little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = serde_json::to_vec(&self.header).expect("a header is plain data");
        let values: usize = self.tensors.iter().map(|tensor| 8 + 4 * tensor.len()).sum();
        let mut bytes = Vec::with_capacity(MAGIC.len() + 8 + header.len() + values + HASH_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&header);
        for tensor in &self.tensors {
            bytes.extend_from_slice(&(tensor.len() as u64).to_le_bytes());
            bytes.extend(tensor.iter().flat_map(|value| value.to_le_bytes()));
        }
        let hash = xxh3_128(&bytes);
        bytes.extend_from_slice(&hash.to_le_bytes());
        bytes
    }

    /// The checkpoint that [`Checkpoint::to_bytes`] packed. Anything else is an error of code `bad-state`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::new(Code::BadState, "the checkpoint is damaged");
        let (content, hash) = bytes.split_last_chunk::<HASH_BYTES>().ok_or_else(damaged)?;
        if u128::from_le_bytes(*hash) != xxh3_128(content) {
            return Err(damaged());
        }
        let mut rest = content.strip_prefix(MAGIC).ok_or_else(damaged)?;
        let mut take = |length: usize| rest.split_off(..length).ok_or_else(damaged);
        let length = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX) as usize;
        let header_length = length(take(8)?);
        let header = serde_json::from_slice(take(header_length)?).map_err(|_| damaged())?;
        let mut tensors = Vec::new();
        while let Ok(bytes) = take(8) {
            let values = take(length(bytes).checked_mul(4).ok_or_else(damaged)?)?;
            tensors.push(values.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect());
        }
        Ok(Checkpoint { header, tensors })
    }
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
