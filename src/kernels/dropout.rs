//! Dropout of the input of an adapter, with a mask that is computed and never stored.

use bytemuck::{Pod, Zeroable};

use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    /// Elements, a multiple of 4.
    pub n: u32,
    /// One for each place in the model that drops; places that share it share their mask.
    pub stream: u32,
    /// The probability of dropping, times 2^32.
    pub threshold: u32,
    /// 1 / (1 − probability).
    pub scale: f32,
}

impl Params {
    /// For `probability` at least 0 and below 1; at 0 everything passes unchanged.
    pub fn new(n: u32, stream: u32, probability: f64) -> Self {
        assert!((0.0..1.0).contains(&probability), "a dropout of {probability} keeps nothing");
        let threshold = (probability * 4_294_967_296.0).round() as u32;
        Params { n, stream, threshold, scale: (1.0 / (1.0 - probability)) as f32 }
    }
}

/// `out` [n] = `inp` [n] with dropped elements zero and the others scaled. `seed` (u32 [1]) changes
/// with each micro-batch.
pub fn forward(rec: &mut Recorder, params: Params, seed: Tensor, inp: Tensor, out: Tensor) {
    rec.call(Kernel::DropoutForward, &params, &[read(seed), read(inp), write(out)]);
}

pub(super) fn lower_forward(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("dropout_forward", work)
}

/// Adds to `dinp` [n] the gradient through [`forward`] of `dout` [n], with the mask of the same seed.
pub fn backward_add(rec: &mut Recorder, params: Params, seed: Tensor, dout: Tensor, dinp: Tensor) {
    rec.call(Kernel::DropoutBackwardAdd, &params, &[read(seed), read(dout), write(dinp)]);
}

pub(super) fn lower_backward_add(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("dropout_backward_add", work)
}

fn work(params: &Params) -> ([u32; 3], u64) {
    (grid((params.n as usize).div_ceil(4 * 256)), 12 * u64::from(params.n))
}
