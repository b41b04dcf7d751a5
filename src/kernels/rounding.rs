//! Values of 32 bits rounded to 16, as weights are stored that others are the masters of.

use bytemuck::{Pod, Zeroable};

use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::format::WeightFormat;
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    /// Values, a multiple of 4.
    pub n: u32,
}

/// Writes into `out` the values of `inp` [n] in `format`, which is F16 or BF16: each the nearest there is, and of two that
/// are as near the one whose last bit is zero.
pub fn round(rec: &mut Recorder, params: Params, format: WeightFormat, inp: Tensor, out: Tensor) {
    rec.call(Kernel::Rounding(format), &params, &[read(inp), write(out)]);
}

pub(super) fn lower(format: WeightFormat, call: &Sizes<'_>) -> Dispatch {
    call.dispatch(format!("rounding.{}", format.name()), |params: &Params| {
        (grid((params.n as usize).div_ceil(4 * 256)), u64::from(params.n))
    })
}
