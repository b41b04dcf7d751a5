//! Adds a frozen bias to columns of an activation, in place.

use bytemuck::{Pod, Zeroable};

use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

/// Sizes in elements, all but `rows` multiples of 4.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    pub rows: u32,
    /// Row stride of `y`.
    pub stride: u32,
    /// The column of `y` that the bias begins at.
    pub offset: u32,
    /// Columns of the bias.
    pub cols: u32,
}

/// Adds `bias` [cols] to the columns from `offset` on of every row of `y` [rows, stride].
///
/// Forward only: a gradient of `y` is one of what `y` was before, and a frozen bias gets none.
pub fn add(rec: &mut Recorder, params: Params, bias: Tensor, y: Tensor) {
    rec.call(Kernel::Bias, &params, &[read(bias), write(y)]);
}

pub(super) fn lower(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("bias", |params: &Params| {
        let elements = params.rows as usize * params.cols as usize;
        (grid(elements.div_ceil(4 * 256)), 8 * elements as u64)
    })
}
