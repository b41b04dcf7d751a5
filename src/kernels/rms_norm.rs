//! RMSNorm and its gradient, each joined with the residual's where there is one.

use bytemuck::{Pod, Zeroable};

use super::lower::{GpuTarget, Sizes};
use super::recorder::{Kernel, Recorder};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Binding, Tensor, read, write};

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
    let kernel = Kernel::RmsNormForward { has_residual: residual.is_some() };
    rec.call(kernel, &params, &with_residual(&bindings, residual));
}

pub(super) fn lower_forward(target: &GpuTarget, has_residual: bool, call: &Sizes<'_>) -> Dispatch {
    lower(&variant("rms_norm_forward", has_residual), 8, target, call)
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

/// Writes the gradient of `inp`. That of [`forward`]'s residual is `dout`, and that of a weight that learns is
/// [`weight_gradient`].
pub fn backward(rec: &mut Recorder, params: Params, tensors: Backward) {
    let Backward { dout, inp, weight, rstd, dresidual, dinp } = tensors;
    let bindings = [read(dout), read(inp), read(weight), read(rstd), write(dinp)];
    let kernel = Kernel::RmsNormBackward { has_residual: dresidual.is_some() };
    rec.call(kernel, &params, &with_residual(&bindings, dresidual));
}

pub(super) fn lower_backward(target: &GpuTarget, has_residual: bool, call: &Sizes<'_>) -> Dispatch {
    lower(&variant("rms_norm_backward", has_residual), 16, target, call)
}

/// Adds the gradient of the weight to `dweight` [stride]: the sum of dout·inp·rstd over rows, in a fixed order. `dout` and
/// `inp` are [rows, stride], `rstd` [rows].
pub fn weight_gradient(
    rec: &mut Recorder,
    params: Params,
    dout: Tensor,
    inp: Tensor,
    rstd: Tensor,
    dweight: Tensor,
) {
    let bindings = [read(dout), read(inp), read(rstd), write(dweight)];
    rec.call(Kernel::RmsNormWeightGradient, &params, &bindings);
}

pub(super) fn lower_weight_gradient(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("rms_norm_weight_gradient", |params: &Params| {
        (grid((params.stride as usize / 4).div_ceil(4)), 4 * params.elements())
    })
}

/// The residual is the last binding of the variant that has one.
fn with_residual(bindings: &[Binding], residual: Option<Tensor>) -> Vec<Binding> {
    bindings.iter().copied().chain(residual.map(read)).collect()
}

fn variant(kernel: &str, has_residual: bool) -> String {
    format!("{kernel}.{}", if has_residual { "residual" } else { "plain" })
}

fn lower(variant: &str, flops: u64, target: &GpuTarget, call: &Sizes<'_>) -> Dispatch {
    let (shader, rows) = target.team(variant, call.largest::<Params>().stride as usize);
    call.dispatch(shader, |params: &Params| {
        (grid((params.rows as usize).div_ceil(rows)), flops * params.elements())
    })
}
