//! The gradients of LoRA's factors, for all the layers stacked in one linear at once.

use bytemuck::{Pod, Zeroable};

use super::linear;
use crate::gpu::{Recorder, Tensor, grid, read, write};

/// Invocations of a workgroup: few, because a factor has few blocks and many cores want some.
const THREADS: u32 = 16;

/// What the outer product and its twin compute with. Sizes in elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Params {
    /// M.
    pub rows: u32,
    pub u_stride: u32,
    pub u_offset: u32,
    pub v_stride: u32,
    /// Columns of U that take part; a multiple of 8.
    pub height: u32,
    /// Columns of V that take part, and the row length of G; a multiple of 8.
    pub width: u32,
    pub pad: [u32; 2],
    /// The column of U at which each stacked layer ends; unused ones are u32::MAX.
    pub section_end: [u32; 4],
    /// Where each stacked layer's columns of V begin, or [`linear::NONE`].
    pub v_offset: [u32; 4],
    /// Where each stacked layer's rows of G begin.
    pub g_base: [u32; 4],
}

/// Records dT = scale·dY·B for `sections` stacked layers; dY [M, y_stride], dT [M, t_stride].
pub fn t(
    rec: &mut Recorder,
    params: linear::Params,
    sections: usize,
    dy: Tensor,
    lora_b: Tensor,
    dt: Tensor,
) {
    let threads = params.rows.div_ceil(8) * (params.rank / 4);
    rec.dispatch(
        "lora_grad_t",
        &params,
        &[read(dy), read(lora_b), write(dt)],
        [threads.div_ceil(THREADS), 1, sections as u32],
        2 * u64::from(params.rows) * u64::from(params.cols) * u64::from(params.rank),
    );
}

/// Records G += Uᵀ·V; U [M, u_stride], V [M, v_stride].
pub fn outer(rec: &mut Recorder, params: Params, u: Tensor, v: Tensor, gradient: Tensor) {
    rec.dispatch(
        "lora_grad_outer",
        &params,
        &[read(u), read(v), write(gradient)],
        grid((params.height / 8 * (params.width / 8)).div_ceil(THREADS) as usize),
        2 * u64::from(params.rows) * u64::from(params.height) * u64::from(params.width),
    );
}
