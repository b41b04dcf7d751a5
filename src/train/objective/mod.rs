//! What a step lowers: each objective makes one number of the losses of tokens, and tells what else is worth knowing.

mod answers;
mod cpo;
mod dpo;
mod kto;
mod orpo;
mod supervised;

use super::batch::FlatBatch;
use super::log::Metrics;
use super::options::{TrainMethod, TrainOptions};
use super::step::{Inputs, Passes};
use crate::data::encode::Encoded;
use crate::data::tokens::RowIndex;
use crate::device::Store;
use crate::error::Result;
use crate::kernels::Recorder;
use crate::memory::Tensor;

pub(super) use answers::{Answer, MEASURED};

/// An objective of training, over the log-probabilities that the model gives to the tokens of its rows.
pub(super) trait Objective {
    /// What a micro-batch of `rows` consists of. The last part is that which trains or evaluates.
    fn parts(&self, rows: Vec<Fetched>) -> Vec<Part>;

    /// Whether inputs of an adapter may be dropped.
    fn allows_dropout(&self) -> bool {
        false
    }

    /// Whether what tokens weigh is known after the forward pass alone. Then [`Objective::record`] writes it.
    fn comes_late(&self) -> bool {
        true
    }

    /// What each token's loss weighs in the gradient of a step, as far as it is known before.
    fn token_weight(&self, _: &InStep) -> f32 {
        1.0
    }

    /// Writes what it wants to know of a part, before its passes.
    fn write(&self, _: &Store, _: &Part, _: &FlatBatch, _: &InStep) {}

    /// Records what becomes of the losses of labelled tokens ([`LossPlan::rows`](crate::model::LossPlan::rows)): it adds what
    /// [`Objective::read`] wants to know to [`Inputs::tally`] and, where they come late, writes the `weights` of tokens.
    fn record(&self, rec: &mut Recorder, inputs: &Inputs, losses: Tensor, weights: Tensor);

    /// The passes that only make log-probabilities of answers.
    fn scores(&self) -> Vec<Scores> {
        Vec::new()
    }

    /// The one among them that makes the reference's before the first step, if one does.
    fn before_steps(&self) -> Option<Scores> {
        None
    }

    /// Records what a pass that only makes log-probabilities ends with.
    fn record_scores(&self, _: &mut Recorder, _losses: Tensor, _: Scores) {}

    /// The loss, and what is told beside it, of a tally, or of the sum of several, over `labelled` tokens.
    fn read(&self, tally: &[f64], labelled: u64) -> (f64, Metrics);
}

/// A pass that makes log-probabilities, one for each answer, and where they go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scores {
    pub(super) passes: Passes,
    pub(super) logps: Tensor,
}

/// A row as it comes from the store.
pub(super) struct Fetched {
    pub(super) row: Encoded,
    /// The log-probability that the reference gives to its answer; not a number where that is not known.
    pub(super) reference: f32,
}

/// Rows that go through the model together.
#[derive(Default)]
pub(super) struct Part {
    pub(super) rows: Vec<Encoded>,
    /// The answer of each row, where objectives are about answers.
    pub(super) answers: Vec<Answer>,
    /// The passes before those for which the micro-batch is.
    pub(super) before: Vec<Passes>,
    /// Whether there are no others.
    pub(super) is_beside: bool,
}

/// What the micro-batches of a step have in all.
#[derive(Clone, Copy, Debug)]
pub(super) struct InStep {
    pub(super) micro_batches: usize,
    pub(super) labelled: usize,
    /// Rows with labels.
    pub(super) texts: usize,
}

/// The most that a part of a micro-batch can have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capacity {
    pub(super) rows: usize,
    /// Scored tokens, with those that fill up blocks of them.
    pub(super) scored: usize,
}

/// An objective before anything of it is kept.
pub(super) struct Kind {
    /// By part of a micro-batch, the most tokens of a row that are computed and how many of them are scored.
    pub(super) extents: fn(&RowIndex, u32) -> Vec<[usize; 2]>,
    /// The most tokens of a row that the model sees, of rows of so many.
    pub(super) longest: fn(usize, &TrainOptions) -> usize,
    pub(super) keep: fn(&TrainOptions, &mut Store, Capacity) -> Result<Box<dyn Objective>>,
}

impl Kind {
    pub(super) fn of(method: TrainMethod) -> Self {
        let plain = Kind { extents: of_row, longest: |tokens, _| tokens, keep: supervised::keep };
        match method {
            TrainMethod::Sft => plain,
            TrainMethod::Dpo => Kind { keep: dpo::keep, ..plain },
            TrainMethod::Orpo => Kind { extents: orpo::extents, keep: orpo::keep, ..plain },
            TrainMethod::Simpo | TrainMethod::Cpo => Kind { keep: cpo::keep, ..plain },
            TrainMethod::Kto => Kind { extents: kto::extents, longest: kto::longest, keep: kto::keep },
        }
    }
}

/// A row by itself: all of its tokens but the last are computed, and those with a label are scored.
fn of_row(index: &RowIndex, row: u32) -> Vec<[usize; 2]> {
    let [length, targets] = [&index.lengths, &index.targets].map(|of| of[row as usize] as usize);
    vec![[length.saturating_sub(1), targets]]
}
