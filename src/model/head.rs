//! Records the final norm and the head.

use super::architecture::pad8;
use super::weights::{Model, Slab};
use crate::kernels::{Recorder, linear, rms_norm, rows};
use crate::memory::Tensor;

/// Rows that went through the final norm, with what their gradient needs.
#[derive(Clone, Copy, Debug)]
pub struct Normed {
    /// The rows themselves, [rows, H].
    pub gathered: Tensor,
    pub normed: Tensor,
    pub rstd: Tensor,
}

/// Records the final norm of the rows of x [M, H] that `index` names from `first` on.
pub fn final_norm(
    rec: &mut Recorder,
    model: &Model,
    x: Tensor,
    index: Tensor,
    first: usize,
    count: usize,
) -> Normed {
    let width = model.architecture.hidden.padded;
    let gathered = rec.transient(count * width);
    let params = rows::Params { count: count as u32, stride: width as u32, first: first as u32 };
    rows::gather(rec, params, x, index, gathered);
    let normed = rec.transient(count * width);
    let rstd = rec.transient(count);
    let norm = rms_norm::Forward { inp: gathered, weight: model.norm, residual: None, out: normed, rstd };
    rms_norm::forward(rec, norm_params(model, count), norm);
    Normed { gathered, normed, rstd }
}

pub(super) fn norm_params(model: &Model, count: usize) -> rms_norm::Params {
    rms_norm::Params {
        rows: count as u32,
        cols: model.architecture.hidden.real as u32,
        stride: model.architecture.hidden.padded as u32,
        eps: model.architecture.eps,
    }
}

/// Records the logits [rows, V] of already normed hidden rows.
pub fn logits(rec: &mut Recorder, model: &Model, hidden: Tensor, rows: usize, out: Tensor) {
    for slab in &model.head {
        let params = slab_params(model, slab, rows);
        linear::forward(rec, params, hidden, slab.weight, None, None, out);
    }
}

/// The product of a slab, whose columns lie at their ids in rows of V logits.
pub(super) fn slab_params(model: &Model, slab: &Slab, rows: usize) -> linear::Params {
    linear::Params {
        y_stride: model.architecture.vocab.padded as u32,
        y_offset: slab.first_id as u32,
        scale: model.architecture.logits_scale,
        ..linear::Params::plain(rows, pad8(slab.n_ids), model.architecture.hidden.padded)
    }
}
