//! Rows of the embedding table by token id.

use bytemuck::{Pod, Zeroable};

use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    pub rows: u32,
    /// H rounded up to a multiple of 8.
    pub stride: u32,
    /// The id of the slab's first row.
    pub first_id: u32,
    /// Rows in the slab.
    pub n_ids: u32,
    /// Multiplies the rows.
    pub scale: f32,
}

/// Writes the rows of `out` [rows, stride] whose id, in `ids` (u32 [rows]), lies in the slab `table`
/// [n_ids, stride], times the scale, and leaves the other rows as they are.
///
/// `weight` names the table's format, "f32", "f16" or "bf16"; the 16-bit ones are two to a u32, the
/// first in the low half, with zeros past the model's width.
pub fn forward(
    rec: &mut Recorder,
    weight: &'static str,
    params: Params,
    ids: Tensor,
    table: Tensor,
    out: Tensor,
) {
    rec.call(Kernel::EmbeddingForward(weight), &params, &[read(ids), read(table), write(out)]);
}

pub(super) fn lower(weight: &str, call: &Sizes<'_>) -> Dispatch {
    call.dispatch(format!("embedding_forward.{weight}"), |params: &Params| {
        let elements = params.rows as usize * params.stride as usize;
        (grid(elements.div_ceil(4 * 256)), 4 * elements as u64)
    })
}
