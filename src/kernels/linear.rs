//! A frozen linear layer, or several stacked ones, with their LoRA panel: forward, backward, row.

mod tile;
mod weight;

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

pub use tile::Tile;
pub use weight::{Role, Stored, Weight};

use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use super::shaders;
use crate::format::WeightFormat;
use crate::gpu::{Dispatch, grid};
use crate::memory::{MAX_BINDING, Tensor, read, write};

/// Marks a stacked layer without LoRA.
pub const NONE: u32 = u32::MAX;

/// Stacked layers that the kernels tell apart, as queries, keys and values are. What describes them has four places,
/// because WGSL has vectors of four; the last one is never used.
pub const MAX_STACKED: usize = 3;

/// Panics where layers are described that the kernels would take for the last one that they know.
pub(super) fn expect_few_layers(section_end: &[u32; 4]) {
    let used = section_end.iter().filter(|&&end| end != u32::MAX).count();
    assert!(used <= MAX_STACKED, "{used} layers are stacked, but the kernels tell {MAX_STACKED} apart");
}

/// What the linear kernels and their twins compute with. Sizes in elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Params {
    /// M.
    pub rows: u32,
    /// N, all stacked layers together; a multiple of 8.
    pub cols: u32,
    /// K rounded up to a multiple of 8.
    pub depth: u32,
    /// K as the checkpoint has it; decides where NF4 blocks lie.
    pub true_depth: u32,
    pub x_stride: u32,
    pub x_offset: u32,
    pub y_stride: u32,
    pub y_offset: u32,
    /// Columns of the LoRA panel: R in forward, all of T's in backward; 0 without LoRA.
    pub rank: u32,
    pub t_stride: u32,
    /// 1 to add the residual.
    pub add_residual: u32,
    /// Multiplies the product, not the panel.
    pub scale: f32,
    /// The column at which each of at most [`MAX_STACKED`] layers ends; unused ones are u32::MAX.
    pub section_end: [u32; 4],
    /// Where each stacked layer's columns of T begin, or [`NONE`].
    pub t_offset: [u32; 4],
    /// Where each stacked layer's B begins in the bound B.
    pub b_base: [u32; 4],
}

impl Params {
    /// Y [rows, cols] = X [rows, depth]·Wᵀ with tight rows and no LoRA.
    pub fn plain(rows: usize, cols: usize, depth: usize) -> Self {
        Params {
            rows: rows as u32,
            cols: cols as u32,
            depth: depth as u32,
            true_depth: depth as u32,
            x_stride: depth as u32,
            x_offset: 0,
            y_stride: cols as u32,
            y_offset: 0,
            rank: 0,
            t_stride: 0,
            add_residual: 0,
            scale: 1.0,
            section_end: [u32::MAX; 4],
            t_offset: [NONE; 4],
            b_base: [0; 4],
        }
    }

    fn flops(&self) -> u64 {
        2 * u64::from(self.rows) * u64::from(self.cols) * u64::from(self.depth + self.rank)
    }
}

/// The LoRA panel of a product: T and B in forward, dT and A in backward.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    pub t: Tensor,
    pub factor: Tensor,
}

/// Where [`forward`] and [`backward`] bind the weight's values and scales.
pub(super) const WEIGHT: Range<usize> = 1..3;

/// Records the decoding of a weight [N, K] to f32.
pub fn decode(rec: &mut Recorder, params: Params, weight: Weight, out: Tensor) {
    let scales = weight.scales_of(rec, &params);
    let bindings = [write(out), read(weight.values), read(scales)];
    rec.call(Kernel::LinearDecode(weight.format), &params, &bindings);
}

pub(super) fn lower_decode(format: WeightFormat, call: &Sizes<'_>) -> Dispatch {
    call.dispatch(format!("linear_decode.{}", format.name()), |params: &Params| {
        let values = u64::from(params.cols) * u64::from(params.depth);
        (grid((values as usize / 8).div_ceil(64)), 8 * values)
    })
}

/// Whether a decoded copy of a weight fits one binding.
pub fn fits_scratch(cols: usize, depth: usize) -> bool {
    4 * (cols * depth) as u64 <= MAX_BINDING
}

/// Records Y = scale·X·Wᵀ + T·Bᵀ + residual; X [M, x_stride], Y and residual [M, y_stride].
pub fn forward(
    rec: &mut Recorder,
    params: Params,
    x: Tensor,
    weight: Weight,
    panel: Option<Panel>,
    residual: Option<Tensor>,
    y: Tensor,
) {
    debug_assert_eq!(params.add_residual == 1, residual.is_some());
    expect_few_layers(&params.section_end);
    let panel = panel.unwrap_or(Panel { t: x, factor: x });
    let scales = weight.scales_of(rec, &params);
    let bindings = [
        read(x),
        read(weight.values),
        read(scales),
        read(panel.t),
        read(panel.factor),
        read(residual.unwrap_or(x)),
        write(y),
    ];
    rec.call(Kernel::LinearForward(weight.stored()), &params, &bindings);
}

pub(super) fn lower_forward(tile: Tile, format: WeightFormat, call: &Sizes<'_>) -> Dispatch {
    let name = format.name();
    if has_few_rows(call.largest()) {
        let of_lanes = format!("linear_lanes_row.{}.{name}", tile.name());
        let (shader, width) = match shaders::has(&of_lanes) {
            true => (of_lanes, 4 * tile.lanes()),
            false => (format!("linear_row.{name}"), 16),
        };
        return call.dispatch(shader, |params: &Params| {
            (grid((params.rows * params.cols.div_ceil(width)) as usize), params.flops())
        });
    }
    call.dispatch(format!("linear_forward.{}.{name}", tile.variant()), |params: &Params| {
        (tile.workgroups(params.rows as usize, params.cols as usize), params.flops())
    })
}

/// Whether a tile would be mostly empty, so that forward has a kernel of its own.
pub(super) fn has_few_rows(params: Params) -> bool {
    params.rows < 8
}

/// Records what [`forward`] does for an f32 W [N, K] that may have few rows, such as T = X·Aᵀ: a tile would be
/// mostly empty then.
pub fn narrow(rec: &mut Recorder, params: Params, x: Tensor, w: Tensor, y: Tensor) {
    rec.call(Kernel::LinearNarrow, &params, &[read(x), read(w), write(y)]);
}

pub(super) fn lower_narrow(tile: Tile, call: &Sizes<'_>) -> Dispatch {
    let largest: Params = call.largest();
    if largest.cols > tile.most_narrow() || has_few_rows(largest) {
        let [x, w, y] = [0, 1, 2].map(|index| call.bindings()[index]);
        let dispatch = lower_forward(tile.on(WeightFormat::F32), WeightFormat::F32, call);
        return Dispatch { bindings: vec![x, w, w, x, x, x, y], ..dispatch };
    }
    let (shader, height) = match tile.lanes() {
        0 => ("linear_slices_narrow".to_owned(), 8),
        lanes => (format!("linear_narrow.{}", tile.name()), 4 * lanes),
    };
    call.dispatch(shader, |params: &Params| {
        let workgroups = params.rows.div_ceil(height) * (params.cols / 8);
        (grid(workgroups as usize), params.flops())
    })
}

/// Records dX = scale·dY·W + dT·A + residual; dY [M, y_stride], dX and residual [M, x_stride].
pub fn backward(
    rec: &mut Recorder,
    params: Params,
    dy: Tensor,
    weight: Weight,
    panel: Option<Panel>,
    residual: Option<Tensor>,
    dx: Tensor,
) {
    debug_assert_eq!(params.add_residual == 1, residual.is_some());
    expect_few_layers(&params.section_end);
    let panel = panel.unwrap_or(Panel { t: dy, factor: dy });
    let scales = weight.scales_of(rec, &params);
    let bindings = [
        read(dy),
        read(weight.values),
        read(scales),
        read(panel.t),
        read(panel.factor),
        read(residual.unwrap_or(dy)),
        write(dx),
    ];
    rec.call(Kernel::LinearBackward(weight.stored()), &params, &bindings);
}

pub(super) fn lower_backward(tile: Tile, format: WeightFormat, call: &Sizes<'_>) -> Dispatch {
    let shader = format!("linear_backward.{}.{}", tile.variant(), format.name());
    call.dispatch(shader, |params: &Params| {
        (tile.workgroups(params.rows as usize, params.depth as usize), params.flops())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_layers_can_be_stacked() {
        for section_end in [[u32::MAX; 4], [8, u32::MAX, u32::MAX, u32::MAX], [8, 16, 24, u32::MAX]] {
            expect_few_layers(&section_end);
        }
    }

    #[test]
    #[should_panic = "4 layers are stacked, but the kernels tell 3 apart"]
    fn a_fourth_layer_is_refused() {
        let mut rec = Recorder::new();
        rec.program();
        let [x, w, y] = [64, 64 * 8, 64].map(|elements| rec.transient(elements));
        let params = Params { section_end: [16, 32, 48, 64], ..Params::plain(8, 64, 8) };
        forward(&mut rec, params, x, Weight::f32(w), None, None, y);
    }
}
