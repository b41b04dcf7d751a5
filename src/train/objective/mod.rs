//! What a step lowers: each objective makes one number of the losses of tokens, and tells what else is worth knowing.

mod supervised;

use super::log::Metrics;
use crate::data::encode::Encoded;
use crate::kernels::Recorder;
use crate::memory::Tensor;
use crate::train::step::Inputs;

pub(super) use supervised::Supervised;

/// An objective of training, over the log-probabilities that the model gives to the tokens of its rows.
pub(super) trait Objective {
    /// The passes that a micro-batch of `rows` takes, one behind another. The last one is that which trains or evaluates.
    fn parts(&self, rows: Vec<Encoded>) -> Vec<Part>;

    /// What each token's loss weighs in the gradient of a step of so many labelled tokens.
    fn token_weight(&self, in_step: &InStep) -> f32;

    /// Records what becomes of the losses of labelled tokens ([`LossPlan::rows`](crate::model::LossPlan::rows)): it adds what
    /// [`Objective::read`] wants to know to [`Inputs::tally`].
    fn record(&self, rec: &mut Recorder, inputs: &Inputs, losses: Tensor);

    /// The loss, and what is told beside it, of a tally, or of the sum of several, over `labelled` tokens.
    fn read(&self, tally: &[f64], labelled: u64) -> (f64, Metrics);
}

/// Rows that a pass takes together.
pub(super) struct Part {
    pub(super) rows: Vec<Encoded>,
}

/// What the micro-batches of a step have in all.
#[derive(Clone, Copy, Debug)]
pub(super) struct InStep {
    pub(super) labelled: usize,
    /// Rows with labels.
    pub(super) texts: usize,
}
