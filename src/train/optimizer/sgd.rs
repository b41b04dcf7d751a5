//! Stochastic gradient descent without momentum, as transformers makes torch.optim.SGD for `optim: "sgd"`.

use super::Optimizer;
use crate::device::Store;
use crate::error::Result;
use crate::kernels::{Recorder, sgd};
use crate::memory::{Class, Tensor};
use crate::model::Parameters;
use crate::train::options::TrainOptions;
use crate::train::step::Update;

pub(super) struct Sgd {
    weight_decay: f64,
    hyper: Tensor,
}

impl Sgd {
    pub(super) fn new(options: &TrainOptions, store: &mut Store) -> Result<Self> {
        Ok(Sgd { weight_decay: options.weight_decay, hyper: store.keep(Class::Other, "sgd", 4)? })
    }
}

impl Optimizer for Sgd {
    fn kept(&self, _: usize) -> Vec<(&'static str, Tensor)> {
        Vec::new()
    }

    fn record(&self, rec: &mut Recorder, parameters: &Parameters, stats: Tensor) {
        for (segment, grad) in parameters.with_gradients() {
            let params = sgd::Params { n: segment.len as u32, decays: u32::from(segment.decays) };
            let update = sgd::Update { grad, stats, hyper: self.hyper, param: segment.param };
            sgd::update(rec, params, update);
        }
    }

    fn write(&self, store: &Store, Update { learning_rate, .. }: Update) {
        store.write(self.hyper, &[sgd::Hyper::new(learning_rate, self.weight_decay)]);
    }
}
