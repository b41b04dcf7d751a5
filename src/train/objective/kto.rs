//! Kahneman-Tversky optimisation of answers that are rated one by one; see [`preference::kto`].

use super::answers::{Answer, Answers, OF_PAIRS, Reference, read};
use super::{Capacity, Fetched, InStep, Objective, Part, Scores, of_row};
use crate::data::encode::mismatched;
use crate::data::tokens::RowIndex;
use crate::device::Store;
use crate::error::Result;
use crate::kernels::Recorder;
use crate::kernels::preference::{self, ACCURACIES, KL, KtoParams, Rated};
use crate::memory::Tensor;
use crate::train::batch::FlatBatch;
use crate::train::log::Metrics;
use crate::train::options::TrainOptions;
use crate::train::step::{Inputs, Passes};

/// Rows come in twos, see [`RowUse::Judged`](crate::data::encode::RowUse): an answer behind its prompt, and the answer alone,
/// which goes behind the prompt of the next one in the micro-batch.
struct Kto {
    params: KtoParams,
    max_length: Option<u32>,
    answers: Answers,
    reference: Reference,
    kl_logps: Tensor,
    kl_reference: Tensor,
}

pub(super) fn keep(
    options: &TrainOptions,
    store: &mut Store,
    capacity: Capacity,
) -> Result<Box<dyn Objective>> {
    let of = &options.preference;
    let answers = Answers::new(store, capacity)?;
    Ok(Box::new(Kto {
        params: KtoParams {
            beta: of.beta as f32,
            desirable_weight: of.desirable_weight as f32,
            undesirable_weight: of.undesirable_weight as f32,
        },
        max_length: options.max_length,
        reference: Reference::new(options, &answers, store)?,
        kl_logps: answers.keep(store, "log-probabilities of other answers")?,
        kl_reference: answers.keep(store, "reference of other answers")?,
        answers,
    }))
}

/// An answer to another prompt has no more than both together.
pub(super) fn extents(index: &RowIndex, row: u32) -> Vec<[usize; 2]> {
    let [tokens, scored] = of_row(index, row)[0];
    match row.is_multiple_of(2) {
        true => vec![[tokens + 1 - scored, 0], [tokens, scored]],
        false => vec![[tokens + 1, tokens + 1], [0, 0]],
    }
}

/// A prompt with the answer to another one.
pub(super) fn longest(tokens: usize, options: &TrainOptions) -> usize {
    let both = 2 * tokens;
    options.max_length.map_or(both, |length| both.min((length as usize).max(tokens)))
}

impl Kto {
    fn scores_of_others(&self) -> Scores {
        Scores { passes: Passes::Score, logps: self.kl_logps }
    }
}

impl Objective for Kto {
    fn parts(&self, rows: Vec<Fetched>) -> Vec<Part> {
        let along = |passes: Passes| self.reference.is_along.then_some(passes);
        let (twos, _) = rows.as_chunks::<2>();
        let mut others = Part {
            before: [Some(Passes::Score), along(Passes::ReferenceOfOthers)].into_iter().flatten().collect(),
            is_beside: true,
            ..Part::default()
        };
        let mut own = Part { before: along(Passes::Reference).into_iter().collect(), ..Part::default() };
        for (index, [whole, answer]) in twos.iter().enumerate() {
            let is_good = answer.row.labelled.first() == Some(&true);
            let [_, other] = &twos[(index + twos.len() - 1) % twos.len()];
            let row = mismatched(&whole.row, &other.row, self.max_length);
            others.answers.push(Answer::new(&row, 2 * index + 1, answer.reference, is_good));
            others.rows.push(row);
            own.answers.push(Answer::new(&whole.row, 2 * index, whole.reference, is_good));
            own.rows.push(whole.row.clone());
        }
        vec![others, own]
    }

    fn write(&self, store: &Store, part: &Part, flat: &FlatBatch, in_step: &InStep) {
        let written = self.reference.written();
        let reference = if part.is_beside { written.map(|_| self.kl_reference) } else { written };
        self.answers.write(store, (part, flat), part.answers.len(), in_step, reference);
    }

    fn record(&self, rec: &mut Recorder, inputs: &Inputs, losses: Tensor, weights: Tensor) {
        self.answers.judge(rec, inputs, (losses, weights), |rec, of| {
            let rated = Rated {
                sequences: of.sequences,
                batch: of.batch,
                logps: of.logps,
                reference: self.reference.logps,
                kl_logps: self.kl_logps,
                kl_reference: self.kl_reference,
                weights: of.weights,
                tally: of.tally,
            };
            preference::kto(rec, self.params, rated);
        });
    }

    fn scores(&self) -> Vec<Scores> {
        let along = Scores { passes: Passes::ReferenceOfOthers, logps: self.kl_reference };
        let reference = Some(self.reference.scores()).filter(|scores| scores.passes != Passes::Score);
        let along = self.reference.is_along.then_some(along);
        [Some(self.scores_of_others()), reference, along].into_iter().flatten().collect()
    }

    fn before_steps(&self) -> Option<Scores> {
        // What the run starts from is scored like the answers to other prompts.
        let scores = self.reference.scores();
        let scores = if scores.passes == Passes::Score { self.scores_of_others() } else { scores };
        (!self.reference.is_along).then_some(scores)
    }

    fn record_scores(&self, rec: &mut Recorder, losses: Tensor, scores: Scores) {
        self.answers.sums(rec, losses, scores.logps);
    }

    fn read(&self, tally: &[f64], _: u64) -> (f64, Metrics) {
        let told: Vec<usize> = OF_PAIRS.into_iter().filter(|measure| *measure != ACCURACIES).collect();
        read(tally, &[&told[..], &[KL]].concat())
    }
}
