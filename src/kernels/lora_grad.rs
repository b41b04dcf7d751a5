//! The gradients of LoRA's factors, for all the layers stacked in one linear at once.

use bytemuck::{Pod, Zeroable};

use super::linear::{self, Tile};
use crate::gpu::{Recorder, Tensor, grid, read, write};

/// Invocations of a workgroup of the direct variants: few, because a factor has few blocks and many cores want some.
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

/// The wide operand of an outer product, along which invocations lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// U = dY: the gradient of B.
    U,
    /// V = X: the gradient of A.
    V,
}

/// Records dT = scale·dY·B for `sections` stacked layers; dY [M, y_stride], dT [M, t_stride].
pub fn t(
    rec: &mut Recorder,
    tile: Tile,
    params: linear::Params,
    sections: usize,
    dy: Tensor,
    lora_b: Tensor,
    dt: Tensor,
) {
    let blocks = params.rank / 8;
    let workgroups = match tile.lanes() {
        0 => (params.rows.div_ceil(8) * blocks).div_ceil(THREADS),
        lanes => params.rows.div_ceil(4 * lanes) * blocks,
    };
    rec.dispatch(
        format!("lora_grad_t.{}", variant(tile)),
        &params,
        &[read(dy), read(lora_b), write(dt)],
        [workgroups, 1, sections as u32],
        2 * u64::from(params.rows) * u64::from(params.cols) * u64::from(params.rank),
    );
}

/// Records G += Uᵀ·V; U [M, u_stride], V [M, v_stride].
pub fn outer(
    rec: &mut Recorder,
    tile: Tile,
    along: Along,
    params: Params,
    u: Tensor,
    v: Tensor,
    gradient: Tensor,
) {
    let (height, width) = (params.height / 8, params.width / 8);
    let (name, count) = match (along, tile.lanes()) {
        (Along::U, 0) => ("u", (height * width).div_ceil(THREADS)),
        (Along::V, 0) => ("v", (height * width).div_ceil(THREADS)),
        (Along::U, lanes) => ("u", height.div_ceil(lanes) * width),
        (Along::V, lanes) => ("v", height * width.div_ceil(lanes)),
    };
    rec.dispatch(
        format!("lora_grad_outer.{name}.{}", variant(tile)),
        &params,
        &[read(u), read(v), write(gradient)],
        grid(count as usize),
        2 * u64::from(params.rows) * u64::from(params.height) * u64::from(params.width),
    );
}

/// These products are too narrow to stage: GPUs take the direct variant too.
fn variant(tile: Tile) -> &'static str {
    match tile.lanes() {
        0 => Tile::Direct.name(),
        _ => tile.name(),
    }
}
