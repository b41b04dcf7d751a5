//! The scales of NF4 blocks where they are quantised to 8 bits themselves, made f32 before a product reads them.
//!
//! A product reads a scale once for each 64 values of each tile, so making them f32 first costs a product of many rows
//! next to nothing, and no tile has to know how they lie.

use bytemuck::{Pod, Zeroable};

use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::format::{NESTED_ROWS, NF4_BLOCK, nested_groups};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Params {
    /// Times eight rows.
    pub octets: u32,
    /// Scales of a row.
    pub blocks: u32,
    /// Second-level scales of eight rows.
    pub groups: u32,
    /// 0, which no compiler knows.
    pub zero: u32,
}

impl Params {
    /// For a weight of so many rows, a multiple of 8, of `depth` values, a multiple of 64.
    pub fn new(rows: usize, depth: usize) -> Self {
        debug_assert!(rows.is_multiple_of(NESTED_ROWS) && depth.is_multiple_of(NF4_BLOCK));
        let blocks = depth / NF4_BLOCK;
        let groups = nested_groups(blocks) as u32;
        Params { octets: (rows / NESTED_ROWS) as u32, blocks: blocks as u32, groups, zero: 0 }
    }

    /// Words of codes.
    fn words(&self) -> usize {
        2 * self.octets as usize * self.blocks as usize
    }

    /// Values of [`expand`]'s output.
    pub fn scales(&self) -> usize {
        4 * self.words()
    }
}

/// `out` [rows, blocks] of `nested`, which is as [`NestedAbsmax::rows`](crate::format::NestedAbsmax::rows) makes it.
pub fn expand(rec: &mut Recorder, params: Params, nested: Tensor, out: Tensor) {
    rec.call(Kernel::NestedScales, &params, &[read(nested), write(out)]);
}

pub(super) fn lower(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("nested_scales", |params: &Params| {
        let words = params.words();
        (grid(words.div_ceil(256)), 8 * words as u64)
    })
}
