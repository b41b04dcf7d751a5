//! Records embedding, head and loss. Logits exist a block of rows at a time, and only for rows that
//! have a label; their gradient is written over them.

use super::load::{Model, Slab};
use super::tiles::{Direction, Shape, Tiles};
use crate::gpu::{ProgramId, Recorder, Tensor};
use crate::kernels::linear;
use crate::kernels::{cross_entropy, embedding, rms_norm, rows};

/// How labelled rows are cut into blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossPlan {
    /// Labelled rows of one block.
    pub block: usize,
    /// Blocks for as many labelled rows as a pass may have.
    pub blocks: usize,
}

/// Per labelled row, blocks one behind another: which row it is, its target, its weight.
#[derive(Clone, Copy, Debug)]
pub struct LossInputs {
    /// Index among the M rows, or u32::MAX for a row that is not there.
    pub index: Tensor,
    pub targets: Tensor,
    /// The weight of a row's loss in the gradient, f32.
    pub weight: Tensor,
}

impl LossPlan {
    /// Blocks for `rows` labelled rows of a vocabulary, so that one block of logits stays small.
    pub fn new(rows: usize, vocab: usize) -> Self {
        const LOGITS_BYTES: usize = 16 << 20;
        let fitting = (LOGITS_BYTES / (4 * vocab)) / 8 * 8;
        let block = fitting.clamp(8, 256).min(rows.next_multiple_of(8));
        LossPlan { block, blocks: rows.div_ceil(block) }
    }

    /// Labelled rows of all blocks.
    pub fn rows(&self) -> usize {
        self.block * self.blocks
    }
}

/// Records the embedding of `ids` [M] into x [M, H].
pub fn embed(rec: &mut Recorder, model: &Model, ids: Tensor, count: usize) -> Tensor {
    let x = rec.transient(count * model.sizes.hidden);
    for Slab { first_id, n_ids, weight } in &model.embedding {
        let params = embedding::Params {
            rows: count as u32,
            stride: model.sizes.hidden as u32,
            first_id: *first_id as u32,
            n_ids: *n_ids as u32,
            scale: 1.0,
        };
        embedding::forward(rec, weight.format.name(), params, ids, weight.values, x);
    }
    x
}

/// Records the logits [rows, V] of already normed hidden rows.
pub fn logits(rec: &mut Recorder, model: &Model, tiles: &Tiles, hidden: Tensor, rows: usize, out: Tensor) {
    for slab in &model.head {
        let params = slab_params(model, slab, rows);
        let tile = tiles.tile(Direction::Forward, Shape::new(&params, slab.weight.format));
        linear::forward(rec, tile, params, hidden, slab.weight, None, None, out);
    }
}

fn slab_params(model: &Model, slab: &Slab, rows: usize) -> linear::Params {
    linear::Params {
        y_stride: model.sizes.vocab as u32,
        y_offset: slab.first_id as u32,
        ..linear::Params::plain(rows, super::layout::pad8(slab.n_ids), model.sizes.hidden)
    }
}

/// Records the final norm of the rows of x [M, H] that `index` names from `first` on, with its rstd.
pub fn final_norm(
    rec: &mut Recorder,
    model: &Model,
    x: Tensor,
    index: Tensor,
    first: usize,
    count: usize,
) -> (Tensor, Tensor, Tensor) {
    let width = model.sizes.hidden;
    let gathered = rec.transient(count * width);
    let params = rows::Params { count: count as u32, stride: width as u32, first: first as u32 };
    rows::gather(rec, params, x, index, gathered);
    let normed = rec.transient(count * width);
    let rstd = rec.transient(count);
    let norm = rms_norm::Forward { inp: gathered, weight: model.norm, residual: None, out: normed, rstd };
    rms_norm::forward(rec, norm_params(model, count), norm);
    (gathered, normed, rstd)
}

fn norm_params(model: &Model, count: usize) -> rms_norm::Params {
    rms_norm::Params {
        rows: count as u32,
        cols: model.config.hidden_size as u32,
        stride: model.sizes.hidden as u32,
        eps: model.config.rms_norm_eps,
    }
}

/// Records one program for each block: the losses of its rows into `losses` [`LossPlan::rows`], and
/// their gradient into `dx` [M, H]. The caller has cleared both.
pub fn blocks(
    rec: &mut Recorder,
    model: &Model,
    tiles: &Tiles,
    plan: LossPlan,
    inputs: LossInputs,
    x: Tensor,
    losses: Tensor,
    dx: Tensor,
) -> Vec<ProgramId> {
    let sizes = &model.sizes;
    (0..plan.blocks)
        .map(|block| {
            let program = rec.program();
            let first = block * plan.block;
            let (gathered, normed, rstd) = final_norm(rec, model, x, inputs.index, first, plan.block);
            let logits_tensor = rec.transient(plan.block * sizes.vocab);
            logits(rec, model, tiles, normed, plan.block, logits_tensor);

            let params = cross_entropy::Params {
                rows: plan.block as u32,
                vocab: model.config.vocab_size as u32,
                stride: sizes.vocab as u32,
                first: first as u32,
            };
            cross_entropy::forward_backward(
                rec,
                params,
                inputs.targets,
                inputs.weight,
                logits_tensor,
                losses,
            );

            let mut dnormed = None;
            for slab in &model.head {
                let out = rec.transient(plan.block * sizes.hidden);
                let params = linear::Params {
                    add_residual: u32::from(dnormed.is_some()),
                    ..slab_params(model, slab, plan.block)
                };
                let tile = tiles.tile(Direction::Backward, Shape::new(&params, slab.weight.format));
                linear::backward(rec, tile, params, logits_tensor, slab.weight, None, dnormed, out);
                dnormed = Some(out);
            }
            let dgathered = rec.transient(plan.block * sizes.hidden);
            let tensors = rms_norm::Backward {
                dout: dnormed.expect("a head has a slab"),
                inp: gathered,
                weight: model.norm,
                rstd,
                dresidual: None,
                dinp: dgathered,
            };
            rms_norm::backward(rec, norm_params(model, plan.block), tensors);
            let params =
                rows::Params { count: plan.block as u32, stride: sizes.hidden as u32, first: first as u32 };
            rows::scatter(rec, params, dgathered, inputs.index, dx);
            program
        })
        .collect()
}
