//! Lowers recordings: for each call it picks what suits a target.

mod calls;
mod dispatches;
mod sizes;
mod target;
pub mod tiles;

pub(super) use sizes::Sizes;
pub use target::{GpuTarget, Target};

use super::recorder::Recorder;
use crate::device::Lowered;
use crate::error::Result;

/// What `target` runs of a step, whose sizes are `recordings`, largest first.
///
/// # Errors
///
/// `internal` unless all recordings hold the same operations on the same tensors.
pub fn lower(recordings: &[Recorder], target: &Target) -> Result<Lowered> {
    assert!(!recordings.is_empty(), "a step has a recording");
    Recorder::expect_alike(recordings)?;
    Ok(match target {
        Target::Gpu(target) => Lowered::Gpu(dispatches::dispatches(recordings, target)),
        Target::Cpu => Lowered::Cpu(calls::calls(recordings)),
    })
}
