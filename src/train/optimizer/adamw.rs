//! AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), as torch.optim.AdamW computes it.

use super::Optimizer;
use crate::device::Store;
use crate::error::Result;
use crate::kernels::{Recorder, adamw};
use crate::memory::{Class, Tensor};
use crate::model::Parameters;
use crate::train::options::TrainOptions;
use crate::train::step::Update;

pub(super) struct AdamW {
    options: adamw::Options,
    hyper: Tensor,
    /// First and second moments of each segment.
    moments: Vec<[Tensor; 2]>,
}

impl AdamW {
    pub(super) fn new(options: &TrainOptions, parameters: &Parameters, store: &mut Store) -> Result<Self> {
        let options = adamw::Options {
            adam_beta1: options.adam_beta1,
            adam_beta2: options.adam_beta2,
            adam_epsilon: options.adam_epsilon,
            weight_decay: options.weight_decay,
        };
        let mut moments = Vec::new();
        for segment in parameters.segments() {
            let mut keep = |label: &str| store.keep(Class::Optimizer, label, segment.len);
            moments.push([keep("adam m")?, keep("adam v")?]);
        }
        Ok(AdamW { options, hyper: store.keep(Class::Other, "adamw", 16)?, moments })
    }
}

impl Optimizer for AdamW {
    fn kept(&self, segment: usize) -> Vec<(&'static str, Tensor)> {
        let [m, v] = self.moments[segment];
        vec![("m", m), ("v", v)]
    }

    fn record(&self, rec: &mut Recorder, parameters: &Parameters, stats: Tensor) {
        for ((segment, grad), &[m, v]) in parameters.with_gradients().zip(&self.moments) {
            let update = adamw::Update { grad, stats, hyper: self.hyper, param: segment.param, m, v };
            adamw::update(
                rec,
                adamw::Params { n: segment.len as u32, decays: u32::from(segment.decays) },
                update,
            );
        }
    }

    fn write(&self, store: &Store, Update { learning_rate, numbers, .. }: Update) {
        let hyper = numbers.map(|number| adamw::Hyper::at_step(&self.options, learning_rate, number));
        store.write(self.hyper, &hyper);
    }
}
