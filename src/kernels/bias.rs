//! Adds a bias to columns of an activation, in place, and its gradient.

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
/// A gradient of `y` is one of what `y` was before; that of a bias that learns is [`gradient`].
pub fn add(rec: &mut Recorder, params: Params, bias: Tensor, y: Tensor) {
    rec.call(Kernel::Bias, &params, &[read(bias), write(y)]);
}

pub(super) fn lower(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("bias", |params: &Params| {
        let elements = params.rows as usize * params.cols as usize;
        (grid(elements.div_ceil(4 * 256)), 8 * elements as u64)
    })
}

/// Adds the gradient of the bias to `dbias` [cols]: the sum of `dy` [rows, stride] over rows, in a fixed order.
pub fn gradient(rec: &mut Recorder, params: Params, dy: Tensor, dbias: Tensor) {
    rec.call(Kernel::BiasGradient, &params, &[read(dy), write(dbias)]);
}

pub(super) fn lower_gradient(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("bias_gradient", |params: &Params| {
        let elements = u64::from(params.rows) * u64::from(params.cols);
        (grid((params.cols as usize / 4).div_ceil(4)), elements)
    })
}
