//! Runs as they are saved, so that they outlive the tab and the release that saved them.
//!
//! A run is a record that names its checkpoints, the checkpoints themselves, each a header and pieces of values,
//! and its log in records of its own. Which rows a step takes, its dropout masks and its learning rate are
//! functions of the step's number and the options, so the number stands for the data's cursor, the random state
//! and the schedule.

mod carried;
mod checkpoint;
mod first;
mod header;
mod identity;
mod log_records;
mod record;
mod samples;

pub use carried::{RunExport, RunImport};
pub use header::{Header, Progress, TensorShape};
pub use identity::Identity;
pub use log_records::LogRecords;
pub use record::{
    Found, Keep, RunRecord, Saved, best, delete, latest, latest_identity, mark_best, restore, save,
};
pub use samples::{keep_samples, samples};

use crate::error::{Code, Error, Result};

/// The form in which this build saves. It is raised with every change that a build before could not go on with
/// rightly, a new option that changes a number included, and every form before is read for good:
///
/// 1. One file cut into records: header, all of the log, tensors, a hash. The model's fingerprint adds up its
///    bytes in the order of reading.
/// 2. A header, pieces of values with a hash for each, the log in records of its own. The model's fingerprint is
///    a sum over tensors.
pub const VERSION: u32 = 2;

/// The most bytes of values that are on the host at once while a run is saved or restored: also the most in a
/// record.
pub const PIECE_BYTES: usize = 4 << 20;

/// The values that the next step of a run depends on, read and written in pieces wherever they lie.
#[allow(async_fn_in_trait)]
pub trait State {
    /// The tensors in the order in which they are saved.
    fn tensors(&self) -> Vec<TensorShape>;

    /// `count` values of a tensor from `first` on: f32, little-endian.
    async fn read(&mut self, tensor: usize, first: u64, count: usize) -> Result<Vec<u8>>;

    /// Writes values of a tensor from `first` on.
    fn write(&mut self, tensor: usize, first: u64, values: &[u8]);
}

/// The form of runs that do not say one.
fn first_version() -> u32 {
    1
}

/// The error of a run that a later build saved.
fn later(run: &str, version: u32) -> Error {
    let message = format!(
        "run {run:?} was saved by a later version of tabtune, in form {version}, and this one reads forms up to \
         {VERSION}: reload the page or update tabtune to go on with it, or give this run another run_name"
    );
    Error::new(Code::BadState, message)
}
