//! Cross-entropy of a block of labelled rows, and its gradient over the logits.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Recorder, Tensor, read, write};

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
    let (shader, workgroups) =
        rec.team("cross_entropy_forward_backward", params.rows as usize, params.vocab as usize);
    rec.dispatch(
        shader,
        &params,
        &[read(targets), read(row_weight), write(logits), write(row_loss)],
        workgroups,
        40 * u64::from(params.rows) * u64::from(params.stride),
    );
}
