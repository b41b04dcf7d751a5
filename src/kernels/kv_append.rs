//! Appends the keys and values of new tokens to the cache of generation.

use bytemuck::{Pod, Zeroable};

use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

/// The position of a row that is not to be appended.
pub const SKIP: u32 = u32::MAX;

/// Strides, offsets and widths in elements; all multiples of 4.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    pub rows: u32,
    pub qkv_stride: u32,
    pub k_offset: u32,
    pub v_offset: u32,
    /// Key/value heads times head_dim.
    pub kv_width: u32,
    /// At least `2 * kv_width`.
    pub cache_stride: u32,
}

/// Writes row m's keys to columns 0..kv_width and its values to kv_width..2·kv_width of row
/// `positions[m]` (u32 [rows], all different, or [`SKIP`]) of `cache` [positions, cache_stride].
/// `qkv` is [rows, qkv_stride].
pub fn apply(rec: &mut Recorder, params: Params, qkv: Tensor, positions: Tensor, cache: Tensor) {
    rec.call(Kernel::KvAppend, &params, &[read(qkv), read(positions), write(cache)]);
}

pub(super) fn lower(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("kv_append", |params: &Params| {
        let items = params.rows as usize * params.kv_width as usize / 2;
        (grid(items.div_ceil(64)), items as u64 * 4)
    })
}
