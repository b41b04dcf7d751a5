//! Supervised tuning: the mean loss of all labelled tokens of a step.

use super::{InStep, Objective, Part};
use crate::data::encode::Encoded;
use crate::kernels::{Recorder, grad_norm};
use crate::memory::Tensor;
use crate::train::log::Metrics;
use crate::train::step::Inputs;

pub(in crate::train) struct Supervised;

impl Objective for Supervised {
    fn parts(&self, rows: Vec<Encoded>) -> Vec<Part> {
        vec![Part { rows }]
    }

    fn token_weight(&self, in_step: &InStep) -> f32 {
        1.0 / in_step.labelled as f32
    }

    fn record(&self, rec: &mut Recorder, inputs: &Inputs, losses: Tensor) {
        let params = grad_norm::LossSumParams { n: inputs.loss_plan.rows() as u32 };
        grad_norm::loss_sum(rec, params, losses, inputs.loss_sum);
    }

    fn read(&self, tally: &[f64], labelled: u64) -> (f64, Metrics) {
        (tally[0] / labelled as f64, Metrics::new())
    }
}
