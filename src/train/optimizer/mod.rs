//! The optimisers: each owns what it keeps of the parameters, and records how it updates them.

mod adafactor;
mod adamw;
mod sgd;

use super::options::{Optim, TrainOptions};
use super::step::Update;
use crate::bail;
use crate::device::Store;
use crate::error::Result;
use crate::kernels::Recorder;
use crate::memory::Tensor;
use crate::model::Parameters;

/// Updates parameters from their gradients.
pub(super) trait Optimizer {
    /// What it keeps of a segment, by the names under which that is saved.
    fn kept(&self, segment: usize) -> Vec<(&'static str, Tensor)>;

    /// What it keeps beside that of matrices rather than of segments, by the names under which that is saved.
    fn kept_of_matrices(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// Records the update of all parameters. `stats` is what [`grad_norm`](crate::kernels::grad_norm) says of their
    /// gradients.
    fn record(&self, rec: &mut Recorder, parameters: &Parameters, stats: Tensor);

    /// Writes what changes from step to step, before each.
    fn write(&self, store: &Store, update: Update);
}

/// The optimiser that `options` ask for, with what it keeps of `parameters`.
pub(super) fn optimizer(
    options: &TrainOptions,
    parameters: &Parameters,
    store: &mut Store,
) -> Result<Box<dyn Optimizer>> {
    Ok(match options.optim {
        Optim::Adafactor => Box::new(adafactor::Adafactor::new(options, parameters, store)?),
        Optim::AdamwTorch => Box::new(adamw::AdamW::new(options, parameters, store)?),
        Optim::Sgd => Box::new(sgd::Sgd::new(options, store)?),
        Optim::Mezo => bail!(Internal, "MeZO has no gradients to update from"),
    })
}
