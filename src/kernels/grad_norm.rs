//! Sums in a fixed order: the step's loss, and the global norm of the gradient with its clipping.

use bytemuck::{Pod, Zeroable};

use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct LossSumParams {
    pub n: u32,
}

/// Adds `row_loss[0..n]` to `accumulator[0]`, which is cleared at the start of a step.
pub fn loss_sum(rec: &mut Recorder, params: LossSumParams, row_loss: Tensor, accumulator: Tensor) {
    rec.call(Kernel::GradNormLossSum, &params, &[read(row_loss), write(accumulator)]);
}

pub(super) fn lower_loss_sum(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("grad_norm_loss_sum", |params: &LossSumParams| (grid(1), u64::from(params.n)))
}

/// The elements whose squares make one partial sum.
pub const BLOCK: usize = 8192;

/// The partial sums that `n` elements of one buffer make.
pub fn partial_count(n: usize) -> usize {
    n.div_ceil(BLOCK)
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct SquaresParams {
    /// Elements of the buffer, a multiple of 4.
    pub n: u32,
    /// Where this buffer's partial sums begin.
    pub first: u32,
}

/// Writes the sums of squares of `grad[0..n]` to `partials`, [`partial_count`] of them from `first`.
///
/// A gradient in several buffers takes one call for each, with `first` moving on.
pub fn squares(rec: &mut Recorder, params: SquaresParams, grad: Tensor, partials: Tensor) {
    rec.call(Kernel::GradNormSquares, &params, &[read(grad), write(partials)]);
}

pub(super) fn lower_squares(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("grad_norm_squares", |params: &SquaresParams| {
        (grid(partial_count(params.n as usize)), 2 * u64::from(params.n))
    })
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct FinishParams {
    /// Partial sums in all.
    pub count: u32,
    /// Zero for no clipping.
    pub max_grad_norm: f32,
}

/// The floats of `stats`, and where each stands.
pub const STATS: usize = 4;
/// Global L2 norm before clipping.
pub const STATS_NORM: usize = 0;
/// min(1, max_grad_norm / (norm + 1e-6)), what the gradient is multiplied by; 0 when not finite.
pub const STATS_CLIP: usize = 1;
/// 1 when norm and loss are finite, else 0.
pub const STATS_FINITE: usize = 2;
/// What was at [`STATS_FINITE`] before: whether the step before was applied.
pub const STATS_WAS_FINITE: usize = 3;

/// Writes `stats` [[`STATS`]] from `partials[0..count]`, `loss[0]` and the stats of the step before, which it holds.
pub fn finish(rec: &mut Recorder, params: FinishParams, partials: Tensor, loss: Tensor, stats: Tensor) {
    rec.call(Kernel::GradNormFinish, &params, &[read(partials), write(loss), write(stats)]);
}

pub(super) fn lower_finish(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("grad_norm_finish", |params: &FinishParams| (grid(1), u64::from(params.count)))
}
