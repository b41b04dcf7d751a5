//! A run at the end of a step, as bytes: all that the next step depends on.
//!
//! Which rows a step takes, its dropout masks and its learning rate are functions of the step's number and
//! the options, so the number stands for the data's cursor, the random state and the schedule.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

use super::log::Line;
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
    /// The options by part, e.g. `{"train": {"seed": 42}}`, defaults included.
    pub options: Map<String, Value>,
}

impl Identity {
    /// Fails with code `bad-option` or `bad-state`, saying what differs, unless `self`, which was saved, is
    /// `now`.
    pub fn expect(&self, now: &Identity) -> Result<()> {
        for (what, before, now) in
            [("model", &self.model, &now.model), ("dataset", &self.dataset, &now.dataset)]
        {
            if before != now {
                bail!(BadState, "the checkpoint is of a run on another {what}");
            }
        }
        if self.eval_dataset != now.eval_dataset {
            bail!(BadState, "the checkpoint is of a run with other held-out rows");
        }
        for (part, options) in &now.options {
            for (option, value) in options.as_object().into_iter().flatten() {
                let before = &self.options.get(part).unwrap_or(&Value::Null)[option];
                if before != value {
                    bail!(
                        BadOption,
                        "{part}.{option} is {value}, but was {before} in the run that is to be resumed"
                    );
                }
            }
        }
        Ok(())
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
}

impl Default for Progress {
    fn default() -> Self {
        Progress { step: 0, num_tokens: 0, learning_rate_scale: 1.0, skipped_steps: 0, rewinds: 0 }
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
