//! Rotary position embedding of the query and key columns, in place.

use bytemuck::{Pod, Zeroable};

use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

/// Sizes, strides and offsets in elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    pub rows: u32,
    /// Row stride of `qkv`.
    pub stride: u32,
    /// Column of the first query head; the heads follow one another.
    pub q_offset: u32,
    /// Column of the first key head.
    pub k_offset: u32,
    pub q_heads: u32,
    pub kv_heads: u32,
    pub head_dim: u32,
    /// Values of each head that turn, its first ones; even, at most `head_dim`. The rest stay.
    pub rotary_dim: u32,
    /// 1 forward, −1 backward.
    pub sign: f32,
    /// Row stride of both tables, at least `rotary_dim / 2`.
    pub table_stride: u32,
}

/// Turns the query and key heads of `qkv` [rows, stride] by the angles of `positions` (u32 [rows]),
/// whose cosines and sines are the rows of `cos` and `sin` [positions, table_stride].
///
/// Value i of a head turns with value i + `rotary_dim` / 2. With `sign` −1 it turns gradients back: the rotation
/// R is orthogonal. Tables may be scaled by an attention factor f (yarn, longrope): what is applied is then
/// A = f·R, and with `sign` −1 f·Rᵀ = Aᵀ, which is still A's backward.
pub fn apply(rec: &mut Recorder, params: Params, qkv: Tensor, positions: Tensor, cos: Tensor, sin: Tensor) {
    rec.call(Kernel::Rope, &params, &[write(qkv), read(positions), read(cos), read(sin)]);
}

pub(super) fn lower(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("rope", |params: &Params| {
        let pairs = (params.rotary_dim as usize / 2).div_ceil(2);
        let items = params.rows as usize * (params.q_heads + params.kv_heads) as usize * pairs;
        (grid(items.div_ceil(128)), items as u64 * 12)
    })
}
