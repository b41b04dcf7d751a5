//! Picks rows out of an activation and puts them back.

use bytemuck::{Pod, Zeroable};

use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

/// The index of a row that is not there.
pub const DEAD: u32 = u32::MAX;

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    pub count: u32,
    /// Of both activations, a multiple of 8.
    pub stride: u32,
    /// Where the block's indices begin.
    pub first: u32,
}

impl Params {
    fn elements(&self) -> usize {
        self.count as usize * self.stride as usize
    }
}

/// `out` [count, stride] row i = `inp` [M, stride] row `index[first + i]`, or zeros where that is
/// [`DEAD`].
pub fn gather(rec: &mut Recorder, params: Params, inp: Tensor, index: Tensor, out: Tensor) {
    rec.call(Kernel::RowsGather, &params, &[read(inp), read(index), write(out)]);
}

pub(super) fn lower_gather(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("rows_gather", work)
}

/// `out` [M, stride] row `index[first + i]` = `inp` [count, stride] row i. Live indices are distinct;
/// rows with index [`DEAD`] go nowhere, and rows of `out` that no index names stay as they are.
pub fn scatter(rec: &mut Recorder, params: Params, inp: Tensor, index: Tensor, out: Tensor) {
    rec.call(Kernel::RowsScatter, &params, &[read(inp), read(index), write(out)]);
}

pub(super) fn lower_scatter(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("rows_scatter", work)
}

/// `out` [M, stride] row `index[first + i]` is multiplied by `weight[first + i]`. Live indices are distinct; rows with index
/// [`DEAD`] name none.
pub fn scale(rec: &mut Recorder, params: Params, index: Tensor, weight: Tensor, out: Tensor) {
    rec.call(Kernel::RowsScale, &params, &[read(index), read(weight), write(out)]);
}

pub(super) fn lower_scale(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("rows_scale", work)
}

fn work(params: &Params) -> ([u32; 3], u64) {
    (grid(params.elements().div_ceil(4 * 256)), 4 * params.elements() as u64)
}
