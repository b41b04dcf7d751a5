//! Contrastive preference optimisation and SimPO; see [`preference::cpo`].

use super::answers::{Answers, OF_PAIRS, read};
use super::{Capacity, Fetched, InStep, Objective, Part};
use crate::device::Store;
use crate::error::Result;
use crate::kernels::Recorder;
use crate::kernels::preference::{self, CpoParams, NLL};
use crate::memory::Tensor;
use crate::train::batch::FlatBatch;
use crate::train::log::Metrics;
use crate::train::options::{TrainMethod, TrainOptions};
use crate::train::step::Inputs;

struct Cpo {
    params: CpoParams,
    answers: Answers,
}

pub(super) fn keep(
    options: &TrainOptions,
    store: &mut Store,
    capacity: Capacity,
) -> Result<Box<dyn Objective>> {
    let of = &options.preference;
    // TRL reaches SimPO as CPO by token, with a margin and without the chosen answers' own likelihood.
    let is_simpo = options.method == TrainMethod::Simpo;
    let params = CpoParams {
        beta: of.beta as f32,
        gamma: if is_simpo { of.simpo_gamma as f32 } else { 0.0 },
        alpha: if is_simpo { 0.0 } else { of.cpo_alpha as f32 },
        label_smoothing: of.label_smoothing as f32,
        by_token: u32::from(is_simpo),
    };
    Ok(Box::new(Cpo { params, answers: Answers::new(store, capacity)? }))
}

impl Objective for Cpo {
    fn parts(&self, rows: Vec<Fetched>) -> Vec<Part> {
        vec![Answers::pairs(rows, Vec::new())]
    }

    fn write(&self, store: &Store, part: &Part, flat: &FlatBatch, in_step: &InStep) {
        self.answers.write(store, (part, flat), part.answers.len() / 2, in_step, None);
    }

    fn record(&self, rec: &mut Recorder, inputs: &Inputs, losses: Tensor, weights: Tensor) {
        self.answers.judge(rec, inputs, (losses, weights), |rec, pairs| {
            preference::cpo(rec, self.params, pairs);
        });
    }

    fn read(&self, tally: &[f64], _: u64) -> (f64, Metrics) {
        let nll = if self.params.alpha == 0.0 { &[][..] } else { &[NLL] };
        read(tally, &[&OF_PAIRS, nll].concat())
    }
}
