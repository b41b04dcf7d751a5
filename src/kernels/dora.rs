//! DoRA (Liu et al. 2024, arXiv:2402.09353): columns of a product scaled to magnitudes that learn.
//!
//! Y = m/n·(X·Wᵀ + T·Bᵀ), where n are the norms of the rows of W + s·B·A, through which no gradient flows (section 4.3).
//! A product makes Z = X·Wᵀ + T·Bᵀ, and what is here scales it.
//!
//! n² = ‖w‖² + 2s·b·(A·w) + s²·b·(A·Aᵀ)·b for each row w of W and b of B. So of the weight as it is stored a pass reads
//! what a product with A's few rows reads, by the tile that suits it, and no row of the sum ever exists. ‖w‖² is computed
//! once. In f32 this loses digits only where s·B·A takes away nearly all of a row, of which no training comes near.

use bytemuck::{Pod, Zeroable};

use super::linear::{self, Weight};
use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::format::WeightFormat;
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

/// What the kernels and their twins compute with. Sizes in elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Params {
    /// M.
    pub rows: u32,
    /// N, all stacked layers together; a multiple of 8. Rows of Z have as many values.
    pub cols: u32,
    /// Row stride of Y and dY, and where the product's columns begin in them.
    pub stride: u32,
    pub offset: u32,
    /// R, the row length of B.
    pub rank: u32,
    /// The rows of A, all layers together.
    pub t_stride: u32,
    /// 1 to add the residual.
    pub add_residual: u32,
    /// What [`backward`] takes away from m/n.
    pub minus: f32,
    /// The column at which each stacked layer ends; unused ones are u32::MAX.
    pub section_end: [u32; 4],
    /// Where each layer's rows of A begin, or [`linear::NONE`]: its columns have no magnitudes, and m/n is 1.
    pub t_offset: [u32; 4],
    /// Where each layer's B begins in the bound B. Its magnitudes and norms begin at an R-th of that.
    pub b_base: [u32; 4],
    /// s of each layer.
    pub scale: [f32; 4],
}

/// Records the squares of the norms of the rows of W [N, K] into `out` [N].
pub fn squares(rec: &mut Recorder, params: linear::Params, weight: Weight, out: Tensor) {
    let scales = weight.scales_of(rec, &params);
    let bindings = [write(out), read(weight.values), read(scales)];
    rec.call(Kernel::DoraSquares(weight.format), &params, &bindings);
}

pub(super) fn lower_squares(format: WeightFormat, call: &Sizes<'_>) -> Dispatch {
    call.dispatch(format!("dora_squares.{}", format.name()), |params: &linear::Params| {
        let values = u64::from(params.cols) * u64::from(params.depth);
        (grid(params.cols.div_ceil(16) as usize), 2 * values)
    })
}

/// The tensors of [`norms`].
#[derive(Clone, Copy, Debug)]
pub struct Norms {
    /// ‖w‖² of each row [N].
    pub squares: Tensor,
    /// A·Wᵀ [t_stride, N].
    pub products: Tensor,
    /// A·Aᵀ [t_stride, t_stride].
    pub gram: Tensor,
    pub lora_b: Tensor,
    /// Receives the norms, placed as magnitudes are.
    pub norms: Tensor,
}

/// Records the norms of the rows of W + s·B·A.
pub fn norms(rec: &mut Recorder, params: Params, tensors: Norms) {
    let Norms { squares, products, gram, lora_b, norms } = tensors;
    let bindings = [read(squares), read(products), read(gram), read(lora_b), write(norms)];
    rec.call(Kernel::DoraNorms, &params, &bindings);
}

pub(super) fn lower_norms(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("dora_norms", |params: &Params| {
        let flops = 2 * u64::from(params.cols) * u64::from(params.rank) * u64::from(params.rank + 1);
        (grid((params.cols as usize / 4).div_ceil(256)), flops)
    })
}

/// The tensors of [`forward`].
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// [M, N].
    pub z: Tensor,
    pub magnitudes: Tensor,
    pub norms: Tensor,
    /// [M, stride].
    pub residual: Option<Tensor>,
    /// [M, stride].
    pub y: Tensor,
}

/// Records Y = m/n·Z + residual. Where a norm is 0, so is the factor.
pub fn forward(rec: &mut Recorder, params: Params, tensors: Forward) {
    let Forward { z, magnitudes, norms, residual, y } = tensors;
    debug_assert_eq!(params.add_residual == 1, residual.is_some());
    let bindings = [read(magnitudes), read(norms), read(z), read(residual.unwrap_or(z)), write(y)];
    rec.call(Kernel::DoraForward, &params, &bindings);
}

pub(super) fn lower_forward(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("dora_forward", each_quad)
}

/// The tensors of [`backward`].
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// [M, stride].
    pub dy: Tensor,
    pub magnitudes: Tensor,
    pub norms: Tensor,
    /// [M, N].
    pub dz: Tensor,
}

/// Records dZ = (m/n − minus)·dY.
pub fn backward(rec: &mut Recorder, params: Params, tensors: Backward) {
    let Backward { dy, magnitudes, norms, dz } = tensors;
    rec.call(Kernel::DoraBackward, &params, &[read(magnitudes), read(norms), read(dy), write(dz)]);
}

pub(super) fn lower_backward(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("dora_backward", each_quad)
}

fn each_quad(params: &Params) -> ([u32; 3], u64) {
    let elements = params.rows as usize * params.cols as usize;
    (grid(elements.div_ceil(4 * 256)), 4 * elements as u64)
}

/// The tensors of [`magnitude_gradient`].
#[derive(Clone, Copy, Debug)]
pub struct MagnitudeGradient {
    /// [M, stride].
    pub dy: Tensor,
    /// [M, N].
    pub z: Tensor,
    pub norms: Tensor,
    /// Placed as the magnitudes are.
    pub gradient: Tensor,
}

/// Adds the gradient of the magnitudes to what is there: the sum of dY·Z over rows, in a fixed order, divided by the norm.
pub fn magnitude_gradient(rec: &mut Recorder, params: Params, tensors: MagnitudeGradient) {
    let MagnitudeGradient { dy, z, norms, gradient } = tensors;
    rec.call(Kernel::DoraMagnitudeGradient, &params, &[read(dy), read(z), read(norms), write(gradient)]);
}

pub(super) fn lower_magnitude_gradient(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("dora_magnitude_gradient", |params: &Params| {
        let elements = u64::from(params.rows) * u64::from(params.cols);
        (grid((params.cols as usize / 4).div_ceil(4)), 2 * elements)
    })
}
