//! Rows of the embedding table by token id, and their gradient.

use bytemuck::{Pod, Zeroable};

use super::linear::Weight;
use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::format::WeightFormat;
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    pub rows: u32,
    /// H rounded up to a multiple of 8.
    pub depth: u32,
    /// The id of the slab's first row.
    pub first_id: u32,
    /// Rows in the slab.
    pub n_ids: u32,
    /// Multiplies the rows.
    pub scale: f32,
}

/// The formats that a table may have: those of whole checkpoints, since bitsandbytes leaves embeddings as they are.
pub const FORMATS: [WeightFormat; 11] = [
    WeightFormat::F32,
    WeightFormat::F16,
    WeightFormat::Bf16,
    WeightFormat::Q8_0,
    WeightFormat::Q4_0,
    WeightFormat::Q4_1,
    WeightFormat::Q5_0,
    WeightFormat::Q5_1,
    WeightFormat::Q4K,
    WeightFormat::Q5K,
    WeightFormat::Q6K,
];

/// Writes the rows of `out` [rows, depth] whose id, in `ids` (u32 [rows]), lies in the slab `table`
/// [n_ids, depth], times the scale, and leaves the other rows as they are.
pub fn forward(rec: &mut Recorder, params: Params, ids: Tensor, table: Weight, out: Tensor) {
    let bindings = [read(ids), read(table.values), read(table.scales), write(out)];
    rec.call(Kernel::EmbeddingForward(table.format), &params, &bindings);
}

pub(super) fn lower(format: WeightFormat, call: &Sizes<'_>) -> Dispatch {
    call.dispatch(format!("embedding_forward.{}", format.name()), |params: &Params| {
        let elements = params.rows as usize * params.depth as usize;
        (grid(elements.div_ceil(4 * 256)), 4 * elements as u64)
    })
}

/// Adds the gradient of a slab to `dtable` [n_ids, depth]: for each id the rows of `dout` [rows, depth] that have it, times
/// the scale. `order` (u32 [rows]) names the rows by id, those of one id one behind another, and ends with u32::MAX where
/// there are fewer; the sum runs in that order. Its place in the table is all that a row of `dtable` is written by, so
/// nothing is atomic.
pub fn backward(
    rec: &mut Recorder,
    params: Params,
    ids: Tensor,
    order: Tensor,
    dout: Tensor,
    dtable: Tensor,
) {
    let bindings = [read(ids), read(order), read(dout), write(dtable)];
    rec.call(Kernel::EmbeddingBackward, &params, &bindings);
}

pub(super) fn lower_backward(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("embedding_backward", |params: &Params| {
        let elements = params.rows as usize * params.depth as usize;
        (grid(elements.div_ceil(4 * 256)), 2 * elements as u64)
    })
}
