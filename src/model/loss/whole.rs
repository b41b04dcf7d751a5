//! A block of rows against the whole vocabulary at once: the gradient of the logits is written over them.

use super::Loss;
use crate::kernels::{Recorder, cross_entropy, linear, lora_grad};
use crate::memory::Tensor;
use crate::model::head;

impl Loss<'_> {
    /// Records the losses of the block of rows from `first` on, and returns the gradient of `normed` [block, H].
    pub(super) fn whole(&self, rec: &mut Recorder, first: usize, normed: Tensor) -> Tensor {
        let Loss { model, plan, inputs, losses, .. } = *self;
        let (hidden, vocab) = (model.architecture.hidden.padded, model.architecture.vocab);
        let logits = rec.transient(plan.block * vocab.padded);
        head::logits(rec, model, normed, plan.block, logits);
        let params = cross_entropy::Params {
            rows: plan.block as u32,
            vocab: vocab.real as u32,
            stride: vocab.padded as u32,
            first: first as u32,
        };
        cross_entropy::forward_backward(rec, params, inputs.targets, inputs.weight, logits, losses);

        let mut dnormed = None;
        for slab in &model.head {
            let out = rec.transient(plan.block * hidden);
            let params = linear::Params {
                add_residual: u32::from(dnormed.is_some()),
                ..head::slab_params(model, slab, plan.block)
            };
            linear::backward(rec, params, logits, slab.weight, None, dnormed, out);
            if let Some(gradient) = self.parameters.gradient(slab.weight.values) {
                lora_grad::weight(rec, params, logits, normed, gradient);
            }
            dnormed = Some(out);
        }
        dnormed.expect("a head has a slab")
    }
}
