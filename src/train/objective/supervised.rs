//! Supervised tuning: the mean loss of all labelled tokens of a step.

use super::{Capacity, Fetched, InStep, Objective, Part};
use crate::device::Store;
use crate::error::Result;
use crate::kernels::{Recorder, grad_norm};
use crate::memory::Tensor;
use crate::train::log::Metrics;
use crate::train::options::TrainOptions;
use crate::train::step::Inputs;

struct Supervised;

pub(super) fn keep(_: &TrainOptions, _: &mut Store, _: Capacity) -> Result<Box<dyn Objective>> {
    Ok(Box::new(Supervised))
}

impl Objective for Supervised {
    fn parts(&self, rows: Vec<Fetched>) -> Vec<Part> {
        vec![Part { rows: rows.into_iter().map(|fetched| fetched.row).collect(), ..Part::default() }]
    }

    fn allows_dropout(&self) -> bool {
        true
    }

    fn comes_late(&self) -> bool {
        false
    }

    fn token_weight(&self, in_step: &InStep) -> f32 {
        1.0 / in_step.labelled as f32
    }

    fn record(&self, rec: &mut Recorder, inputs: &Inputs, losses: Tensor, _: Tensor) {
        let params = grad_norm::LossSumParams { n: inputs.loss_plan.rows() as u32 };
        grad_norm::loss_sum(rec, params, losses, inputs.loss_sum);
    }

    fn read(&self, tally: &[f64], labelled: u64) -> (f64, Metrics) {
        (tally[0] / labelled as f64, Metrics::new())
    }
}
