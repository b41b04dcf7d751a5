//! RMSNorm and its gradient, each joined with the residual's where there is one.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Binding, Recorder, Tensor, read, write};

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

/// The tensors of [`forward`]: all [rows, stride] but `weight` [stride] and `rstd` [rows].
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    pub inp: Tensor,
    pub weight: Tensor,
    /// Added to what is normed and weighted, as behind Gemma's attention.
    pub residual: Option<Tensor>,
    /// A tensor of its own.
    pub out: Tensor,
    /// Receives the reciprocal roots.
    pub rstd: Tensor,
}

/// Normalises the rows of `inp`, times `weight`, plus the residual.
pub fn forward(rec: &mut Recorder, params: Params, tensors: Forward) {
    let Forward { inp, weight, residual, out, rstd } = tensors;
    let bindings = [read(inp), read(weight), write(out), write(rstd)];
    dispatch(rec, "rms_norm_forward", params, &bindings, residual, 8 * params.elements());
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
    pub dresidual: Option<Tensor>,
    /// Receives the gradient of `inp`, with `dresidual` added. A tensor of its own.
    pub dinp: Tensor,
}

/// Writes the gradient of `inp`. The weight is frozen and gets none; that of [`forward`]'s residual is `dout`.
pub fn backward(rec: &mut Recorder, params: Params, tensors: Backward) {
    let Backward { dout, inp, weight, rstd, dresidual, dinp } = tensors;
    let bindings = [read(dout), read(inp), read(weight), read(rstd), write(dinp)];
    dispatch(rec, "rms_norm_backward", params, &bindings, dresidual, 16 * params.elements());
}

/// The residual is the last binding of the variant that has one.
fn dispatch(
    rec: &mut Recorder,
    kernel: &str,
    params: Params,
    bindings: &[Binding],
    residual: Option<Tensor>,
    flops: u64,
) {
    let kernel = format!("{kernel}.{}", if residual.is_some() { "residual" } else { "plain" });
    let (shader, workgroups) = rec.team(&kernel, params.rows as usize, params.stride as usize);
    let bindings: Vec<Binding> = bindings.iter().copied().chain(residual.map(read)).collect();
    rec.dispatch(shader, &params, &bindings, workgroups, flops);
}
