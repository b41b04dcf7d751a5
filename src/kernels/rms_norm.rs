//! RMSNorm and its gradient, joined with the residual's.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Recorder, Tensor, read, write};

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    pub rows: u32,
    /// The width that the mean is taken over.
    pub cols: u32,
    /// `cols` rounded up to a multiple of 8; the lanes between are zero.
    pub stride: u32,
    /// `rms_norm_eps`.
    pub eps: f32,
}

impl Params {
    fn elements(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.stride)
    }
}

/// Normalises the rows of `inp` [rows, stride] into `out` [rows, stride], times `weight` [stride], and
/// keeps the reciprocal roots in `rstd` [rows].
pub fn forward(rec: &mut Recorder, params: Params, inp: Tensor, weight: Tensor, out: Tensor, rstd: Tensor) {
    let (shader, workgroups) = rec.team("rms_norm_forward", params.rows as usize, params.stride as usize);
    rec.dispatch(
        shader,
        &params,
        &[read(inp), read(weight), write(out), write(rstd)],
        workgroups,
        8 * params.elements(),
    );
}

/// The tensors of [`backward`]: all [rows, stride] but `weight` [stride] and `rstd` [rows].
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    pub dout: Tensor,
    /// What [`forward`] read.
    pub inp: Tensor,
    pub weight: Tensor,
    /// What [`forward`] wrote.
    pub rstd: Tensor,
    /// The gradient that the residual stream brings past the norm.
    pub dresidual: Tensor,
    /// Receives the gradient of `inp`, with `dresidual` added. A tensor of its own.
    pub dinp: Tensor,
}

/// Writes the gradient of `inp`. The weight is frozen and gets none.
pub fn backward(rec: &mut Recorder, params: Params, tensors: Backward) {
    let Backward { dout, inp, weight, rstd, dresidual, dinp } = tensors;
    let (shader, workgroups) = rec.team("rms_norm_backward", params.rows as usize, params.stride as usize);
    rec.dispatch(
        shader,
        &params,
        &[read(dout), read(inp), read(weight), read(rstd), read(dresidual), write(dinp)],
        workgroups,
        16 * params.elements(),
    );
}
