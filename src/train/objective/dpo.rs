//! Direct preference optimisation and the losses beside it; see [`preference::dpo`].

use super::answers::{Answers, OF_PAIRS, Reference, read};
use super::{Capacity, Fetched, InStep, Objective, Part, Scores};
use crate::device::Store;
use crate::error::Result;
use crate::kernels::Recorder;
use crate::kernels::preference::{self, DpoParams};
use crate::memory::Tensor;
use crate::train::batch::FlatBatch;
use crate::train::log::Metrics;
use crate::train::options::{LossType, TrainOptions};
use crate::train::step::{Inputs, Passes};

struct Dpo {
    params: DpoParams,
    answers: Answers,
    reference: Reference,
}

pub(super) fn keep(
    options: &TrainOptions,
    store: &mut Store,
    capacity: Capacity,
) -> Result<Box<dyn Objective>> {
    let of = &options.preference;
    let weight = |wanted: LossType| {
        let weights = of.loss_weights.iter().flatten().copied().chain(std::iter::repeat(1.0));
        let own = of.loss_type.iter().zip(weights).filter(|(kind, _)| **kind == wanted);
        own.map(|(_, weight)| weight).sum::<f64>() as f32
    };
    let params = DpoParams {
        beta: of.beta as f32,
        label_smoothing: of.label_smoothing as f32,
        sigmoid: weight(LossType::Sigmoid),
        hinge: weight(LossType::Hinge),
        ipo: weight(LossType::Ipo),
        robust: weight(LossType::Robust),
        apo_zero: weight(LossType::ApoZero),
        apo_down: weight(LossType::ApoDown),
        sft: weight(LossType::Sft),
    };
    let answers = Answers::new(store, capacity)?;
    let reference = Reference::new(options, &answers, store)?;
    Ok(Box::new(Dpo { params, answers, reference }))
}

impl Objective for Dpo {
    fn parts(&self, rows: Vec<Fetched>) -> Vec<Part> {
        let before = if self.reference.is_along { vec![Passes::Reference] } else { Vec::new() };
        vec![Answers::pairs(rows, before)]
    }

    fn write(&self, store: &Store, part: &Part, flat: &FlatBatch, in_step: &InStep) {
        let pairs = part.answers.len() / 2;
        self.answers.write(store, (part, flat), pairs, in_step, self.reference.written());
    }

    fn record(&self, rec: &mut Recorder, inputs: &Inputs, losses: Tensor, weights: Tensor) {
        self.answers.judge(rec, inputs, (losses, weights), |rec, pairs| {
            preference::dpo(rec, self.params, self.reference.logps, pairs);
        });
    }

    fn scores(&self) -> Vec<Scores> {
        vec![self.reference.scores()]
    }

    fn before_steps(&self) -> Option<Scores> {
        (!self.reference.is_along).then(|| self.reference.scores())
    }

    fn record_scores(&self, rec: &mut Recorder, losses: Tensor, scores: Scores) {
        self.answers.sums(rec, losses, scores.logps);
    }

    fn read(&self, tally: &[f64], _: u64) -> (f64, Metrics) {
        read(tally, &OF_PAIRS)
    }
}
