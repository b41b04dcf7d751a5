//! Records the embedding of tokens, and its gradient.

use super::architecture::Architecture;
use super::pass::Pass;
use super::weights::{Model, Slab};
use crate::kernels::{Recorder, embedding};
use crate::memory::Tensor;

/// Records the embedding of `ids` [M] into x [M, H].
pub fn embed(rec: &mut Recorder, model: &Model, ids: Tensor, count: usize) -> Tensor {
    rows(rec, model, &model.embedding, model.architecture.embedding_scale, ids, count)
}

/// Adds up the gradient of the embedding from that of its rows x [M, H], where it learns. `order` names the rows by id; see
/// [`embedding::backward`].
pub fn embed_backward(rec: &mut Recorder, pass: &Pass<'_>, order: Tensor, dx: Tensor) {
    let Architecture { hidden, embedding_scale, .. } = pass.model.architecture;
    for Slab { first_id, n_ids, weight } in &pass.model.embedding {
        if let Some(gradient) = pass.gradient(weight.values) {
            let params = embedding::Params {
                rows: pass.rows.count as u32,
                depth: hidden.padded as u32,
                first_id: *first_id as u32,
                n_ids: *n_ids as u32,
                scale: embedding_scale,
            };
            embedding::backward(rec, params, pass.rows.ids, order, dx, gradient);
        }
    }
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
