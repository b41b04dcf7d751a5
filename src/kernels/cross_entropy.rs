//! Cross-entropy of a block of labelled rows: with its gradient over the logits of the whole vocabulary, or chunk by
//! chunk with the gradient of the rows that the logits are a product of.

use bytemuck::{Pod, Zeroable};

use super::lower::{GpuTarget, Sizes};
use super::recorder::{Kernel, Recorder};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

/// The target of a row that fills up a block and counts for nothing.
pub const DEAD: u32 = u32::MAX;

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    pub rows: u32,
    /// V.
    pub vocab: u32,
    /// At least `vocab`, a multiple of 4; lanes past `vocab` are ignored and set to zero.
    pub stride: u32,
    /// Where the block begins in `targets`, `row_weight` and `row_loss`.
    pub first: u32,
}

/// The loss of each row, with the gradient written over the logits.
///
/// For row i of `logits` [rows, stride] and the target at `first + i` of `targets` (u32):
/// `row_loss[first + i]` = −log softmax(logits)[target], and the logits become
/// (softmax(logits) − onehot(target)) · `row_weight[first + i]`. A row with target [`DEAD`] gets loss
/// zero and gradient zero, whatever it held. A logit that is not finite, or a target outside the
/// vocabulary, makes the row's loss and gradient NaN.
pub fn forward_backward(
    rec: &mut Recorder,
    params: Params,
    targets: Tensor,
    row_weight: Tensor,
    logits: Tensor,
    row_loss: Tensor,
) {
    let bindings = [read(targets), read(row_weight), write(logits), write(row_loss)];
    rec.call(Kernel::CrossEntropyForwardBackward, &params, &bindings);
}

pub(super) fn lower_forward_backward(target: &GpuTarget, call: &Sizes<'_>) -> Dispatch {
    let vocab = call.largest::<Params>().vocab as usize;
    let (shader, rows) = target.team("cross_entropy_forward_backward", vocab);
    call.dispatch(shader, |params: &Params| {
        (grid((params.rows as usize).div_ceil(rows)), flops(params.rows, params.stride))
    })
}

fn flops(rows: u32, stride: u32) -> u64 {
    40 * u64::from(rows) * u64::from(stride)
}

/// Words of what is known of a row after some chunks: the bits of the maximum, of the sum of exponentials and of the
/// target's logit, and 1 once a logit was not finite.
pub const SUMMARY_WORDS: usize = 4;

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct ChunkParams {
    pub rows: u32,
    /// Columns of the chunk.
    pub vocab: u32,
    /// At least `vocab`, a multiple of 4; lanes past `vocab` are ignored and set to zero.
    pub stride: u32,
    /// Where the block begins in `targets`.
    pub first: u32,
    /// The id of the chunk's first column; 0 in the first chunk, before which nothing is known.
    pub first_id: u32,
    /// H, a multiple of 4; 0 where the losses alone are wanted, and then `sums` is not touched and the logits are undefined.
    pub width: u32,
}

/// What a block of rows has met of the vocabulary: the tensors that go from chunk to chunk.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// The logits [rows, stride] of the chunk, which become exponentials less their row's maximum so far.
    pub logits: Tensor,
    /// Summaries [rows, [`SUMMARY_WORDS`]] before the chunk and after it, in different buffers.
    pub before: Tensor,
    pub after: Tensor,
    /// Σ exp(logit − maximum)·W[v] over the columns v before the chunk, [rows, width], which is brought to the new
    /// maximum.
    pub sums: Tensor,
}

/// A chunk of the vocabulary on the way to softmax(logits)·W, as a block of keys is in FlashAttention (Dao et al.
/// 2022, arXiv:2205.14135) where keys and values are both W.
///
/// Adding logits·W of the chunk to `sums` is left to [`super::linear::backward`]. Rows with target [`DEAD`] or with a
/// logit that is not finite get zeros for logits.
pub fn chunk(rec: &mut Recorder, params: ChunkParams, targets: Tensor, of: Chunk) {
    let bindings = [read(targets), read(of.before), write(of.logits), write(of.sums), write(of.after)];
    rec.call(Kernel::CrossEntropyChunk, &params, &bindings);
}

pub(super) fn lower_chunk(target: &GpuTarget, call: &Sizes<'_>) -> Dispatch {
    let vocab = call.largest::<ChunkParams>().vocab as usize;
    let (shader, rows) = target.team("cross_entropy_chunk", vocab);
    call.dispatch(shader, |params: &ChunkParams| {
        (grid((params.rows as usize).div_ceil(rows)), flops(params.rows, params.stride))
    })
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct FinishParams {
    pub rows: u32,
    /// V.
    pub vocab: u32,
    /// H, a multiple of 4.
    pub width: u32,
    /// Where the block begins in `targets`, `row_weight` and `row_loss`.
    pub first: u32,
}

/// What [`finish`] makes losses and gradients of.
#[derive(Clone, Copy, Debug)]
pub struct Finish {
    /// The weight of each row's loss in the gradient, f32.
    pub row_weight: Tensor,
    /// Summaries [rows, [`SUMMARY_WORDS`]] after the last chunk.
    pub summaries: Tensor,
    /// Σ exp(logit − maximum)·W[v] over all columns v, [rows, width].
    pub sums: Tensor,
    /// W[target] of each row, [rows, width], which becomes the gradient of the row that was multiplied by Wᵀ.
    pub rows: Tensor,
    pub row_loss: Tensor,
}

/// The loss and the gradient of each row after the last [`chunk`], both as [`forward_backward`] defines them:
/// `rows` become (softmax(logits) − onehot(target))·W · `row_weight[first + i]`.
pub fn finish(rec: &mut Recorder, params: FinishParams, targets: Tensor, of: Finish) {
    let bindings = [
        read(targets),
        read(of.row_weight),
        read(of.summaries),
        read(of.sums),
        write(of.rows),
        write(of.row_loss),
    ];
    rec.call(Kernel::CrossEntropyFinish, &params, &bindings);
}

pub(super) fn lower_finish(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("cross_entropy_finish", |params: &FinishParams| {
        let elements = params.rows as usize * params.width as usize;
        (grid(elements.div_ceil(4 * 256)), 8 * elements as u64)
    })
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct LossesParams {
    pub rows: u32,
    /// V.
    pub vocab: u32,
    /// Where the block begins in `targets`, `row_loss` and `row_miss`.
    pub first: u32,
}

/// The loss of each row after the last [`chunk`], as [`forward_backward`] defines it, without a gradient. `row_miss` is 0
/// where the target has the greatest logit of its row, or shares it, and else 1; 0 for a dead row, NaN for a broken one.
pub fn losses(
    rec: &mut Recorder,
    params: LossesParams,
    targets: Tensor,
    summaries: Tensor,
    row_loss: Tensor,
    row_miss: Tensor,
) {
    let bindings = [read(targets), read(summaries), write(row_loss), write(row_miss)];
    rec.call(Kernel::CrossEntropyLosses, &params, &bindings);
}

pub(super) fn lower_losses(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("cross_entropy_losses", |params: &LossesParams| {
        (grid((params.rows as usize).div_ceil(256)), 10 * u64::from(params.rows))
    })
}
