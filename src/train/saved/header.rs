//! What a checkpoint says before its values.

use serde::{Deserialize, Deserializer, Serialize};

use super::Identity;
use crate::model::tiles::Tiles;

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
}

impl Default for Progress {
    fn default() -> Self {
        Progress { step: 0, num_tokens: 0, learning_rate_scale: 1.0, skipped_steps: 0, rewinds: 0 }
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
    /// Lines of the log so far.
    pub lines: usize,
    pub tensors: Vec<TensorShape>,
    /// XXH3-128 of each piece of values, in their order.
    pub(super) pieces: Vec<String>,
}

impl Header {
    pub fn new(identity: Identity, progress: Progress, tiles: Tiles) -> Self {
        Header { identity, progress, tiles: Some(tiles), ..Header::default() }
    }
}

/// Tiles, unless this build does not know one of them.
pub(super) fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Tiles>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}
