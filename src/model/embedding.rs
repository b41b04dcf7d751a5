//! Records the embedding of tokens.

use super::load::{Model, Slab};
use crate::gpu::{Recorder, Tensor};
use crate::kernels::embedding;

/// Records the embedding of `ids` [M] into x [M, H].
pub fn embed(rec: &mut Recorder, model: &Model, ids: Tensor, count: usize) -> Tensor {
    rows(rec, model, &model.embedding, ids, count)
}

/// Records the rows of `slabs` that `ids` [count] name, [count, H]. A row whose id is none of theirs holds anything.
pub(super) fn rows(rec: &mut Recorder, model: &Model, slabs: &[Slab], ids: Tensor, count: usize) -> Tensor {
    let x = rec.transient(count * model.sizes.hidden);
    for Slab { first_id, n_ids, weight } in slabs {
        let params = embedding::Params {
            rows: count as u32,
            stride: model.sizes.hidden as u32,
            first_id: *first_id as u32,
            n_ids: *n_ids as u32,
        };
        embedding::forward(rec, weight.format.name(), params, ids, weight.values, x);
    }
    x
}
