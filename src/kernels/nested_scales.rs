//! The scales of NF4 blocks where they are quantised to 8 bits themselves, made f32 before a product reads them.
//!
//! A product reads a scale once for each 64 values of each tile, so making them f32 first costs a product of many rows
//! next to nothing, and no tile has to know how they lie.

use bytemuck::{Pod, Zeroable};

use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Params {
    pub rows: u32,
    /// Scales of a row.
    pub blocks: u32,
    /// Words of codes of a row.
    pub words: u32,
    /// 0, which no compiler knows.
    pub zero: u32,
}

impl Params {
    /// For a weight of so many rows of `depth` values, a multiple of 64.
    pub fn new(rows: usize, depth: usize) -> Self {
        let blocks = (depth / 64) as u32;
        Params { rows: rows as u32, blocks, words: blocks.div_ceil(4), zero: 0 }
    }

    /// Values of [`expand`]'s output.
    pub fn scales(&self) -> usize {
        self.rows as usize * self.blocks as usize
    }
}

/// `out` [rows, blocks] of `nested`, whose rows are as
/// [`NestedAbsmax::rows`](crate::format::NestedAbsmax::rows) makes them.
pub fn expand(rec: &mut Recorder, params: Params, nested: Tensor, out: Tensor) {
    rec.call(Kernel::NestedScales, &params, &[read(nested), write(out)]);
}

pub(super) fn lower(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("nested_scales", |params: &Params| {
        let words = params.rows as usize * params.words as usize;
        (grid(words.div_ceil(256)), 8 * words as u64)
    })
}
