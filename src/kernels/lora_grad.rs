//! The gradients of LoRA's factors, for all the layers stacked in one linear at once, and those of whole weights.

use bytemuck::{Pod, Zeroable};

use super::linear::{self, Tile};
use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

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
    /// Multiplies the product.
    pub scale: f32,
    pub pad: u32,
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
    /// V = X: the gradient of A, and of a whole weight.
    V,
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
    linear::expect_few_layers(&params.section_end);
    let kernel = Kernel::LoraGradT { sections: sections as u32 };
    rec.call(kernel, &params, &[read(dy), read(lora_b), write(dt)]);
}

pub(super) fn lower_t(tile: Tile, sections: u32, call: &Sizes<'_>) -> Dispatch {
    let split = Split::of(tile);
    let shader = match split {
        Split::Slices => "lora_grad_slices_t".to_owned(),
        Split::Blocks => "lora_grad_t.direct".to_owned(),
        Split::Lanes(_) => format!("lora_grad_t.{}", tile.name()),
    };
    call.dispatch(shader, |params: &linear::Params| {
        let blocks = params.rank / 8;
        let workgroups = match split {
            Split::Slices => params.rows.div_ceil(8) * blocks,
            Split::Blocks => (params.rows.div_ceil(8) * blocks).div_ceil(THREADS),
            Split::Lanes(lanes) => params.rows.div_ceil(4 * lanes) * blocks,
        };
        let [x, y, _] = grid(workgroups as usize);
        let flops = 2 * u64::from(params.rows) * u64::from(params.cols) * u64::from(params.rank);
        ([x, y, sections], flops)
    })
}

/// Records G += scale·Uᵀ·V; U [M, u_stride], V [M, v_stride].
pub fn outer(rec: &mut Recorder, along: Along, params: Params, u: Tensor, v: Tensor, gradient: Tensor) {
    linear::expect_few_layers(&params.section_end);
    rec.call(Kernel::LoraGradOuter(along), &params, &[read(u), read(v), write(gradient)]);
}

/// Records G += scale·dYᵀ·X, the gradient of the whole weight [N, K] of a product of `params`; dY [M, y_stride], X [M, K].
pub fn weight(rec: &mut Recorder, params: linear::Params, dy: Tensor, x: Tensor, gradient: Tensor) {
    let of_weight = Params {
        rows: params.rows,
        u_stride: params.y_stride,
        u_offset: params.y_offset,
        v_stride: params.depth,
        height: params.cols,
        width: params.depth,
        scale: params.scale,
        pad: 0,
        section_end: [u32::MAX; 4],
        v_offset: [0; 4],
        g_base: [0; 4],
    };
    outer(rec, Along::V, of_weight, dy, x, gradient);
}

pub(super) fn lower_outer(tile: Tile, along: Along, call: &Sizes<'_>) -> Dispatch {
    let split = Split::of(tile);
    let name = match along {
        Along::U => "u",
        Along::V => "v",
    };
    let shader = match split {
        Split::Slices => format!("lora_grad_slices_outer.{name}"),
        Split::Blocks => format!("lora_grad_outer.{name}.direct"),
        Split::Lanes(_) => format!("lora_grad_outer.{name}.{}", tile.name()),
    };
    call.dispatch(shader, |params: &Params| {
        let (height, width) = (params.height / 8, params.width / 8);
        let count = match (split, along) {
            (Split::Slices, Along::U) => height.div_ceil(2) * width,
            (Split::Slices, Along::V) => height * width.div_ceil(2),
            (Split::Blocks, _) => (height * width).div_ceil(THREADS),
            (Split::Lanes(lanes), Along::U) => height.div_ceil(lanes) * width,
            (Split::Lanes(lanes), Along::V) => height * width.div_ceil(lanes),
        };
        let flops = 2 * u64::from(params.rows) * u64::from(params.height) * u64::from(params.width);
        (grid(count as usize), flops)
    })
}

/// How these narrow products are split among invocations.
#[derive(Clone, Copy)]
enum Split {
    /// A block of results each.
    Blocks,
    /// A block each, with the narrow operand shared by so many invocations of a subgroup.
    Lanes(u32),
    /// Slices of the sum: for GPUs, which a few blocks would not fill.
    Slices,
}

impl Split {
    fn of(tile: Tile) -> Self {
        match (tile.is_shared(), tile.lanes()) {
            (true, _) => Split::Slices,
            (false, 0) => Split::Blocks,
            (false, lanes) => Split::Lanes(lanes),
        }
    }
}
