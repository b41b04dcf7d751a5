//! What objectives over whole answers share: where answers lie among scored tokens, and what is told of them.

use super::{Capacity, Fetched, InStep, Part, Scores};
use crate::data::encode::Encoded;
use crate::device::Store;
use crate::error::Result;
use crate::kernels::Recorder;
use crate::kernels::preference::{
    self, ACCURACIES, Batch, KL, LOG_ODDS_CHOSEN, LOG_ODDS_RATIO, LOGPS_CHOSEN, LOGPS_REJECTED, LOSS,
    MARGINS, MEASURES, NLL, NOBODY, Pairs, REWARDS_CHOSEN, REWARDS_REJECTED, Sequence,
};
use crate::memory::{Class, Tensor};
use crate::train::batch::FlatBatch;
use crate::train::log::Metrics;
use crate::train::options::{ReferenceModel, TrainOptions};
use crate::train::step::{Inputs, Passes};

/// The answer in a row.
#[derive(Clone, Copy, Debug)]
pub(in crate::train) struct Answer {
    /// Which of the rows that were fetched knows what the reference gives to it.
    pub(in crate::train) slot: usize,
    reference: f32,
    /// Its first token among those of the row.
    first: usize,
    tokens: usize,
    is_good: bool,
}

impl Answer {
    /// The labelled end of `row`.
    pub(super) fn new(row: &Encoded, slot: usize, reference: f32, is_good: bool) -> Self {
        let tokens = row.labelled.iter().filter(|labelled| **labelled).count();
        let first = row.labelled.iter().position(|labelled| *labelled).unwrap_or(row.ids.len());
        Answer { slot, reference, first, tokens, is_good }
    }
}

/// The measures that are told beside the loss, by the names that TRL gives to them.
pub(in crate::train) const MEASURED: [(usize, &str); MEASURES - 1] = [
    (REWARDS_CHOSEN, "rewards/chosen"),
    (REWARDS_REJECTED, "rewards/rejected"),
    (ACCURACIES, "rewards/accuracies"),
    (MARGINS, "rewards/margins"),
    (LOGPS_CHOSEN, "logps/chosen"),
    (LOGPS_REJECTED, "logps/rejected"),
    (NLL, "nll_loss"),
    (LOG_ODDS_RATIO, "log_odds_ratio"),
    (LOG_ODDS_CHOSEN, "log_odds_chosen"),
    (KL, "kl"),
];
/// What is told of every kind of pair.
pub(super) const OF_PAIRS: [usize; 6] =
    [REWARDS_CHOSEN, REWARDS_REJECTED, ACCURACIES, MARGINS, LOGPS_CHOSEN, LOGPS_REJECTED];

/// The loss and the `told` measures of a tally, those that have a value.
pub(super) fn read(tally: &[f64], told: &[usize]) -> (f64, Metrics) {
    let mean = |measure: usize| tally[2 * measure] / tally[2 * measure + 1];
    let has_value = |measure: usize| tally[2 * measure + 1] > 0.0;
    let named = MEASURED.iter().filter(|(measure, _)| told.contains(measure) && has_value(*measure));
    (mean(LOSS), named.map(|&(measure, name)| (name.to_owned(), mean(measure))).collect())
}

/// The inputs of an objective over the answers of a micro-batch.
pub(super) struct Answers {
    capacity: Capacity,
    /// [`Sequence`]s, a [`Batch`] and the owners of scored tokens.
    sequences: Tensor,
    batch: Tensor,
    owners: Tensor,
}

impl Answers {
    pub(super) fn new(store: &mut Store, capacity: Capacity) -> Result<Self> {
        let mut keep = |label: &str, words: usize| store.keep(Class::Other, label, words);
        Ok(Answers {
            sequences: keep("answers", capacity.rows * size_of::<Sequence>() / 4)?,
            batch: keep("micro-batch", size_of::<Batch>() / 4)?,
            owners: keep("owners", capacity.scored)?,
            capacity,
        })
    }

    /// A tensor of one value for each answer.
    pub(super) fn keep(&self, store: &mut Store, label: &str) -> Result<Tensor> {
        store.keep(Class::Other, label, self.capacity.rows)
    }

    /// Pairs of rows [chosen, rejected], of one part.
    pub(super) fn pairs(rows: Vec<Fetched>, before: Vec<Passes>) -> Part {
        let mut part = Part { before, ..Part::default() };
        for (slot, Fetched { row, reference }) in rows.into_iter().enumerate() {
            part.answers.push(Answer::new(&row, slot, reference, slot % 2 == 0));
            part.rows.push(row);
        }
        part
    }

    /// Writes a part of which `count` pairs or rated answers are judged. What the reference gives to answers goes to
    /// `reference`, where that is known before.
    pub(super) fn write(
        &self,
        store: &Store,
        (part, flat): (&Part, &FlatBatch),
        count: usize,
        in_step: &InStep,
        reference: Option<Tensor>,
    ) {
        let mut sequences = vec![Sequence::default(); self.capacity.rows];
        let mut owners = vec![NOBODY; self.capacity.scored];
        let (mut start, mut of_chosen) = (0, 0);
        for (index, (answer, (row, &end))) in
            part.answers.iter().zip(part.rows.iter().zip(&flat.ends)).enumerate()
        {
            let before = row.labelled[..answer.first].iter().skip(1).filter(|scored| **scored).count() as u32;
            sequences[index] = Sequence {
                start,
                answer: start + before,
                end,
                tokens: answer.tokens as u32,
                is_good: u32::from(answer.is_good),
            };
            for token in start..end {
                owners[token as usize] = 2 * index as u32 + u32::from(token >= start + before);
            }
            of_chosen += if answer.is_good { end - start } else { 0 };
            start = end;
        }
        let batch = Batch {
            count: count as u32,
            share: 1.0 / in_step.micro_batches as f32,
            tokens: of_chosen as f32,
        };
        store.write(self.sequences, &sequences);
        store.write(self.batch, &[batch]);
        store.write(self.owners, &owners);
        if let Some(reference) = reference {
            let known: Vec<f32> = part.answers.iter().map(|answer| answer.reference).collect();
            store.write(reference, &known);
        }
    }

    /// Records the log-probabilities of answers, `logps`, and the losses of whole sequences, which are returned.
    pub(super) fn sums(&self, rec: &mut Recorder, losses: Tensor, logps: Tensor) -> Tensor {
        let nlls = rec.transient(self.capacity.rows);
        let params = preference::SumsParams { sequences: self.capacity.rows as u32 };
        preference::sums(rec, params, self.sequences, losses, logps, nlls);
        nlls
    }

    /// Records pairs being judged by `judge`, and what their tokens then weigh.
    pub(super) fn judge(
        &self,
        rec: &mut Recorder,
        inputs: &Inputs,
        (losses, weights): (Tensor, Tensor),
        judge: impl FnOnce(&mut Recorder, Pairs),
    ) {
        let logps = rec.transient(self.capacity.rows);
        let nlls = self.sums(rec, losses, logps);
        let of_sequences = rec.transient(2 * self.capacity.rows);
        let (sequences, batch) = (self.sequences, self.batch);
        judge(rec, Pairs { sequences, batch, logps, nlls, weights: of_sequences, tally: inputs.tally });
        self.spread(rec, of_sequences, weights);
    }

    /// Records what each token weighs by what its sequence does.
    pub(super) fn spread(&self, rec: &mut Recorder, of_sequences: Tensor, weights: Tensor) {
        let params = preference::SpreadParams { n: self.capacity.scored as u32 };
        preference::spread(rec, params, self.owners, of_sequences, weights);
    }
}

/// What a reference makes of answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    /// The log-probabilities of answers.
    pub(super) logps: Tensor,
    /// Whether they are made along with each step, rather than before the first one.
    pub(super) is_along: bool,
    is_start: bool,
}

impl Reference {
    pub(super) fn new(options: &TrainOptions, answers: &Answers, store: &mut Store) -> Result<Self> {
        Ok(Reference {
            logps: answers.keep(store, "reference")?,
            is_along: !options.preference.precompute_ref_log_probs,
            is_start: options.preference.reference == ReferenceModel::Start,
        })
    }

    /// The passes that make them.
    pub(super) fn scores(&self) -> Scores {
        let passes = if self.is_start { Passes::Score } else { Passes::Reference };
        Scores { passes, logps: self.logps }
    }

    /// The tensor that the host writes for each part, if it does.
    pub(super) fn written(&self) -> Option<Tensor> {
        (!self.is_along).then_some(self.logps)
    }
}
