//! Records the embedding of tokens.

use super::weights::{Model, Slab};
use crate::kernels::{Recorder, embedding};
use crate::memory::Tensor;

/// Records the embedding of `ids` [M] into x [M, H].
pub fn embed(rec: &mut Recorder, model: &Model, ids: Tensor, count: usize) -> Tensor {
    rows(rec, model, &model.embedding, model.architecture.embedding_scale, ids, count)
}

/// Records the rows of `slabs` that `ids` [count] name times `scale`, [count, H]. A row whose id is none of theirs holds
/// anything.
pub(super) fn rows(
    rec: &mut Recorder,
    model: &Model,
    slabs: &[Slab],
    scale: f32,
    ids: Tensor,
    count: usize,
) -> Tensor {
    let depth = model.architecture.hidden.padded;
    let x = rec.transient(count * depth);
    for Slab { first_id, n_ids, weight } in slabs {
        let params = embedding::Params {
            rows: count as u32,
            depth: depth as u32,
            first_id: *first_id as u32,
            n_ids: *n_ids as u32,
            scale,
        };
        embedding::forward(rec, params, ids, *weight, x);
    }
    x
}
