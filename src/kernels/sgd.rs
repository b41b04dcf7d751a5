//! The update of stochastic gradient descent of a flat buffer of parameters.

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
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Hyper {
    /// 1 − learning rate · weight decay.
    pub decay: f32,
    pub learning_rate: f32,
}

impl Hyper {
    /// Computed in f64 and rounded once.
    pub fn new(learning_rate: f64, weight_decay: f64) -> Self {
        Hyper { decay: (1.0 - learning_rate * weight_decay) as f32, learning_rate: learning_rate as f32 }
    }
}

/// The tensors of [`update`]; `grad` and `param` are flat and equally long.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    pub grad: Tensor,
    /// From [`super::grad_norm::finish`].
    pub stats: Tensor,
    /// A [`Hyper`].
    pub hyper: Tensor,
    pub param: Tensor,
}

/// Updates `param` in place from the clipped gradient, or changes nothing where `stats` says that the gradient is not
/// finite.
pub fn update(rec: &mut Recorder, params: Params, tensors: Update) {
    let Update { grad, stats, hyper, param } = tensors;
    rec.call(Kernel::Sgd, &params, &[read(grad), read(stats), read(hyper), write(param)]);
}

pub(super) fn lower(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("sgd", |params: &Params| {
        (grid((params.n as usize).div_ceil(4 * 256)), 4 * u64::from(params.n))
    })
}
