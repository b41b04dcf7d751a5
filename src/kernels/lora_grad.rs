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
    linear::expect_few_layers(&params.section_end);
    let blocks = params.rank / 8;
    let (shader, workgroups) = match Split::of(tile) {
        Split::Slices => ("lora_grad_slices_t".to_owned(), params.rows.div_ceil(8) * blocks),
        Split::Blocks => {
            ("lora_grad_t.direct".to_owned(), (params.rows.div_ceil(8) * blocks).div_ceil(THREADS))
        }
        Split::Lanes(lanes) => {
            (format!("lora_grad_t.{}", tile.name()), params.rows.div_ceil(4 * lanes) * blocks)
        }
    };
    let [x, y, _] = grid(workgroups as usize);
    rec.dispatch(
        shader,
        &params,
        &[read(dy), read(lora_b), write(dt)],
        [x, y, sections as u32],
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
    linear::expect_few_layers(&params.section_end);
    let name = match along {
        Along::U => "u",
        Along::V => "v",
    };
    let (height, width) = (params.height / 8, params.width / 8);
    let (shader, count) = match (Split::of(tile), along) {
        (Split::Slices, Along::U) => (format!("lora_grad_slices_outer.{name}"), height.div_ceil(2) * width),
        (Split::Slices, Along::V) => (format!("lora_grad_slices_outer.{name}"), height * width.div_ceil(2)),
        (Split::Blocks, _) => (format!("lora_grad_outer.{name}.direct"), (height * width).div_ceil(THREADS)),
        (Split::Lanes(lanes), Along::U) => {
            (format!("lora_grad_outer.{name}.{}", tile.name()), height.div_ceil(lanes) * width)
        }
        (Split::Lanes(lanes), Along::V) => {
            (format!("lora_grad_outer.{name}.{}", tile.name()), height * width.div_ceil(lanes))
        }
    };
    rec.dispatch(
        shader,
        &params,
        &[read(u), read(v), write(gradient)],
        grid(count as usize),
        2 * u64::from(params.rows) * u64::from(params.height) * u64::from(params.width),
    );
}

/// How these narrow products are split among invocations.
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
