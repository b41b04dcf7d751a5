//! How attention is cut into tasks, and where heads lie.

use core::ops::Range;

use crate::params::attention::Params;

/// From so many tasks on, blocks are as tall as they get.
const ENOUGH: u32 = 32;

/// The query heads and the rows that a block has at most, which head_dim limits since packed panels fill the scratch.
fn largest(params: &Params) -> (u32, u32) {
    match params.head_dim {
        ..=128 => (4, 32),
        129..=192 => (4, 16),
        _ => (2, 16),
    }
}

/// Neighbouring rows of query heads that look at the same keys.
pub struct Block {
    pub rows: Range<usize>,
    pub heads: Range<usize>,
    pub kv_head: usize,
}

/// Parts of the query heads of a key/value head, and the rows of a block.
fn parts_and_height(params: &Params) -> (u32, u32) {
    let (heads, height) = largest(params);
    let parts = (params.q_heads / params.kv_heads).div_ceil(heads);
    let tall = (params.rows - params.first_row).div_ceil(height) * params.kv_heads * parts;
    (parts, if tall >= ENOUGH { height } else { 16 })
}

impl Block {
    pub fn count(params: &Params) -> u32 {
        let (parts, height) = parts_and_height(params);
        (params.rows - params.first_row).div_ceil(height) * params.kv_heads * parts
    }

    /// The block of a task. The last rows of a segment see the most keys; their tasks come first.
    pub fn of(params: &Params, task: u32) -> Self {
        let (parts, height) = parts_and_height(params);
        let (number, of_heads) = (task / (params.kv_heads * parts), task % (params.kv_heads * parts));
        let blocks = (params.rows - params.first_row).div_ceil(height);
        let first = params.first_row + (blocks - 1 - number) * height;
        let (kv_head, part) = (of_heads / parts, of_heads % parts);
        let group = params.q_heads / params.kv_heads;
        let together = group.div_ceil(parts);
        let heads = (part * together).min(group)..((part + 1) * together).min(group);
        Block {
            rows: first as usize..params.rows.min(first + height) as usize,
            heads: (kv_head * group + heads.start) as usize..(kv_head * group + heads.end) as usize,
            kv_head: kv_head as usize,
        }
    }
}

/// Neighbouring keys of a key/value head, for the gradients of keys and values.
pub struct KeyBlock {
    pub keys: Range<usize>,
    pub kv_head: usize,
}

fn height_of_keys(params: &Params) -> u32 {
    let keys = params.rows - params.first_row;
    let is_enough = |height: &u32| keys.div_ceil(*height) * params.kv_heads >= ENOUGH;
    let heights: &[u32] = if params.head_dim <= 128 { &[64, 32] } else { &[32] };
    heights.iter().copied().find(is_enough).unwrap_or(16)
}

impl KeyBlock {
    pub fn count(params: &Params) -> u32 {
        (params.rows - params.first_row).div_ceil(height_of_keys(params)) * params.kv_heads
    }

    /// The block of a task. The first keys are seen by the most rows.
    pub fn of(params: &Params, task: u32) -> Self {
        let height = height_of_keys(params);
        let first = params.first_row + task / params.kv_heads * height;
        KeyBlock {
            keys: first as usize..params.rows.min(first + height) as usize,
            kv_head: (task % params.kv_heads) as usize,
        }
    }
}

/// A head in the rows of a tensor.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    pub values: &'a [f32],
    pub stride: usize,
    /// Its first column.
    pub column: usize,
    /// head_dim.
    pub dim: usize,
}

impl<'a> Head<'a> {
    pub fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.stride + self.column..][..self.dim]
    }
}

/// Where heads begin.
impl Params {
    pub fn dim(&self) -> usize {
        self.head_dim as usize
    }

    pub fn query<'a>(&self, q: &'a [f32], head: usize) -> Head<'a> {
        let column = self.q_offset as usize + head * self.dim();
        Head { values: q, stride: self.q_stride as usize, column, dim: self.dim() }
    }

    pub fn key<'a>(&self, kv: &'a [f32], kv_head: usize) -> Head<'a> {
        let column = self.k_offset as usize + kv_head * self.dim();
        Head { values: kv, stride: self.kv_stride as usize, column, dim: self.dim() }
    }

    pub fn value<'a>(&self, kv: &'a [f32], kv_head: usize) -> Head<'a> {
        let column = self.v_offset as usize + kv_head * self.dim();
        Head { values: kv, stride: self.kv_stride as usize, column, dim: self.dim() }
    }

    /// A head of the output or of its gradient.
    pub fn output<'a>(&self, out: &'a [f32], head: usize) -> Head<'a> {
        let column = head * self.dim();
        Head { values: out, stride: self.out_stride as usize, column, dim: self.dim() }
    }
}

/// The keys that any row with one of `spans` sees, from the first to the last; empty where none sees any.
pub fn extent(spans: &[[u32; 2]]) -> Range<usize> {
    let some = spans.iter().filter(|span| span[0] < span[1]);
    let start = some.clone().map(|span| span[0]).min().unwrap_or(0) as usize;
    start..some.map(|span| span[1]).max().unwrap_or(0) as usize
}

/// The part of `span` that lies in `tile`, counted from the tile's start.
pub fn within(span: [u32; 2], tile: &Range<usize>) -> Range<usize> {
    let place = |at: u32| (at as usize).clamp(tile.start, tile.end) - tile.start;
    place(span[0])..place(span[1])
}

/// What any of four ranges has, from the first to the last; empty where all are.
pub fn union(ranges: &[Range<usize>; 4]) -> Range<usize> {
    let some = ranges.iter().filter(|range| !range.is_empty());
    let start = some.clone().map(|range| range.start).min().unwrap_or(0);
    start..some.map(|range| range.end).max().unwrap_or(0)
}

/// Takes the first `len` values of what is left of a scratch.
pub fn take<'a>(left: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (taken, rest) = core::mem::take(left).split_at_mut(len);
    *left = rest;
    taken
}
