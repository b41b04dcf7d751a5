//! The AdamW update of a flat buffer of parameters.

use bytemuck::{Pod, Zeroable};

use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    /// Elements, a multiple of 4.
    pub n: u32,
    /// 1 where weight decay shrinks them, else 0.
    pub decays: u32,
}

/// What changes from step to step, written to a storage buffer before each.
///
/// Computed in f64 and rounded once, as torch does: 1 − 0.999 taken in f32 is 1e-5 off.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Hyper {
    /// 1 − learning rate · weight decay.
    pub decay: f32,
    /// learning rate / (1 − beta1^step).
    pub step_size: f32,
    pub beta1: f32,
    pub one_minus_beta1: f32,
    pub beta2: f32,
    pub one_minus_beta2: f32,
    /// √(1 − beta2^step).
    pub root_bias2: f32,
    pub eps: f32,
}

/// The options of the optimiser by transformers' names, but for the learning rate, which follows a
/// schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    pub weight_decay: f64,
}

impl Hyper {
    /// The values for the update that is the `step`th, counted from 1.
    pub fn at_step(options: &Options, learning_rate: f64, step: u32) -> Self {
        let bias1 = 1.0 - options.adam_beta1.powi(step as i32);
        let bias2 = 1.0 - options.adam_beta2.powi(step as i32);
        Hyper {
            decay: (1.0 - learning_rate * options.weight_decay) as f32,
            step_size: (learning_rate / bias1) as f32,
            beta1: options.adam_beta1 as f32,
            one_minus_beta1: (1.0 - options.adam_beta1) as f32,
            beta2: options.adam_beta2 as f32,
            one_minus_beta2: (1.0 - options.adam_beta2) as f32,
            root_bias2: bias2.sqrt() as f32,
            eps: options.adam_epsilon as f32,
        }
    }
}

/// The tensors of [`update`]; `grad`, `param`, `m` and `v` are flat and equally long.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    pub grad: Tensor,
    /// From [`super::grad_norm::finish`].
    pub stats: Tensor,
    /// Two [`Hyper`]: for where the step before this one was not applied, and for where it was. That is known on the
    /// GPU alone when a step is submitted before the one before it has ended.
    pub hyper: Tensor,
    pub param: Tensor,
    /// First moment.
    pub m: Tensor,
    /// Second moment.
    pub v: Tensor,
}

/// Updates `param`, `m` and `v` in place from the clipped gradient, or changes nothing where `stats`
/// says that the gradient is not finite.
pub fn update(rec: &mut Recorder, params: Params, tensors: Update) {
    let Update { grad, stats, hyper, param, m, v } = tensors;
    let bindings = [read(grad), read(stats), read(hyper), write(param), write(m), write(v)];
    rec.call(Kernel::AdamW, &params, &bindings);
}

pub(super) fn lower(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("adamw", |params: &Params| {
        (grid((params.n as usize).div_ceil(4 * 256)), 20 * u64::from(params.n))
    })
}
