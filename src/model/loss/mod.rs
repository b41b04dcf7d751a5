//! Records the loss and its gradient. Logits exist a block of rows at a time, of a large vocabulary a chunk at a
//! time, and only for rows that have a label.

mod alone;
mod chunks;
mod plan;
mod whole;

pub use plan::LossPlan;

use super::head::{self, Normed};
use super::parameters::Parameters;
use super::weights::Model;
use crate::kernels::{Recorder, rms_norm, rows};
use crate::memory::{ProgramId, Tensor};

/// Per labelled row, blocks one behind another: which row it is, its target, its weight.
#[derive(Clone, Copy, Debug)]
pub struct LossInputs {
    /// Index among the M rows, or u32::MAX for a row that is not there.
    pub index: Tensor,
    pub targets: Tensor,
    /// The weight of a row's loss in the gradient, f32.
    pub weight: Tensor,
}

/// The loss of a model's labelled rows.
#[derive(Clone, Copy)]
pub struct Loss<'a> {
    pub model: &'a Model,
    pub plan: LossPlan,
    pub inputs: LossInputs,
    /// What learns.
    pub parameters: &'a Parameters,
    /// The loss of each labelled row, [`LossPlan::rows`].
    pub losses: Tensor,
}

impl Loss<'_> {
    /// Records one program for each block: the losses of its rows, and their gradient from the rows x [M, H] into
    /// `dx` [M, H]. The caller has cleared the losses and `dx`.
    pub fn blocks(&self, rec: &mut Recorder, x: Tensor, dx: Tensor) -> Vec<ProgramId> {
        let Loss { model, plan, inputs, .. } = *self;
        (0..plan.blocks)
            .map(|block| {
                let program = rec.program();
                let first = block * plan.block;
                let Normed { gathered, normed, rstd } =
                    head::final_norm(rec, model, x, inputs.index, first, plan.block);
                let dnormed = match plan.cuts(model.architecture.vocab.padded) {
                    false => self.whole(rec, first, normed),
                    true => self.in_chunks(rec, first, normed),
                };
                let dgathered = rec.transient(plan.block * model.architecture.hidden.padded);
                let tensors = rms_norm::Backward {
                    dout: dnormed,
                    inp: gathered,
                    weight: model.norm,
                    rstd,
                    dresidual: None,
                    dinp: dgathered,
                };
                let norm_params = head::norm_params(model, plan.block);
                rms_norm::backward(rec, norm_params, tensors);
                if let Some(gradient) = self.parameters.gradient(model.norm) {
                    rms_norm::weight_gradient(rec, norm_params, dnormed, gathered, rstd, gradient);
                }
                let params = rows::Params {
                    count: plan.block as u32,
                    stride: model.architecture.hidden.padded as u32,
                    first: first as u32,
                };
                rows::scatter(rec, params, dgathered, inputs.index, dx);
                program
            })
            .collect()
    }
}
