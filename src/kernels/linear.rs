//! A frozen linear layer, or several stacked ones, with their LoRA panel: forward, backward, row.

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

use crate::gpu::{AdapterSummary, MAX_BINDING, Recorder, Tensor, grid, read, write};

/// How a frozen weight lies on the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightFormat {
    /// NF4 whose rows hold whole blocks of 64.
    Nf4,
    /// NF4 whose blocks run on from row to row; never stacked.
    Nf4Any,
    F32,
    F16,
    Bf16,
}

impl WeightFormat {
    pub const ALL: [WeightFormat; 5] =
        [WeightFormat::Nf4, WeightFormat::Nf4Any, WeightFormat::F32, WeightFormat::F16, WeightFormat::Bf16];

    /// The name of the shader variant.
    pub const fn name(self) -> &'static str {
        match self {
            WeightFormat::Nf4 => "nf4",
            WeightFormat::Nf4Any => "nf4_any",
            WeightFormat::F32 => "f32",
            WeightFormat::F16 => "f16",
            WeightFormat::Bf16 => "bf16",
        }
    }

    /// The 4-byte words of a row of `depth` values (a multiple of 8).
    pub const fn row_words(self, depth: usize) -> usize {
        match self {
            WeightFormat::Nf4 | WeightFormat::Nf4Any => depth / 8,
            WeightFormat::F32 => depth,
            WeightFormat::F16 | WeightFormat::Bf16 => depth / 2,
        }
    }
}

/// How a product is tiled; all give the same result within rounding. `shaders/shared/linear/sizes.wgsl` says
/// more of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tile {
    /// 8 × 8 results an invocation, neither workgroup memory nor subgroups: for any adapter that
    /// computes on the CPU.
    Direct,
    /// [`Tile::Direct`] on a weight that is first decoded into scratch, once rather than for each
    /// block of 8 rows.
    Decoded,
    /// 32 × 32 results a subgroup of 4, which exchanges its rows in quads: for SwiftShader.
    Subgroup4,
    /// 32 × 64 results a subgroup of 8, which shares its rows by broadcast: for lavapipe.
    Subgroup8,
    /// 32 × 64 results a workgroup through workgroup memory: for GPUs.
    Shared32,
    /// 64 × 64 results a workgroup through workgroup memory: for GPUs.
    Shared64,
    /// [`Tile::Shared64`] on a weight that is first decoded into scratch.
    Decoded64,
    /// 128 × 64 results a workgroup through workgroup memory: for GPUs.
    Shared128,
    /// [`Tile::Shared64`] with the weight staged as f16, 32 deep: for GPUs that have f16.
    Half64,
    /// [`Tile::Shared128`] with the weight staged as f16: for GPUs that have f16.
    Half128,
    /// 64 × 64 results a workgroup by cooperative matrices of 8 × 8, subgroups of 8: for recent lavapipe.
    Cooperative8,
    /// 64 × 64 results a workgroup by cooperative matrices of 16 × 16, subgroups of 32: for GPUs that
    /// multiply them outside browsers, such as NVIDIA's tensor cores.
    Cooperative16,
}

impl Tile {
    pub const ALL: [Tile; 12] = [
        Tile::Direct,
        Tile::Decoded,
        Tile::Subgroup4,
        Tile::Subgroup8,
        Tile::Shared32,
        Tile::Shared64,
        Tile::Decoded64,
        Tile::Shared128,
        Tile::Half64,
        Tile::Half128,
        Tile::Cooperative8,
        Tile::Cooperative16,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Tile::Direct => "direct",
            Tile::Decoded => "decoded",
            Tile::Subgroup4 => "subgroup4",
            Tile::Subgroup8 => "subgroup8",
            Tile::Shared32 => "shared32",
            Tile::Shared64 => "shared64",
            Tile::Decoded64 => "decoded64",
            Tile::Shared128 => "shared128",
            Tile::Half64 => "half64",
            Tile::Half128 => "half128",
            Tile::Cooperative8 => "cooperative8",
            Tile::Cooperative16 => "cooperative16",
        }
    }

    /// The name of the shader variant for a weight.
    fn variant(self, format: WeightFormat) -> &'static str {
        match self {
            Tile::Decoded => Tile::Direct.name(),
            Tile::Decoded64 => Tile::Shared64.name(),
            Tile::Half64 if !self.suits(format) => Tile::Shared64.name(),
            Tile::Half128 if !self.suits(format) => Tile::Shared128.name(),
            Tile::Cooperative8 | Tile::Cooperative16 if !self.suits(format) => Tile::Shared64.name(),
            tile => tile.name(),
        }
    }

    /// Whether the tile is worth trying for a weight. Staging as f16 would change the values of a
    /// checkpoint in f32 or bf16; those of one in f16 it keeps, and NF4 is rounded to f16 by everybody
    /// (bitsandbytes' `bnb_4bit_compute_dtype`).
    pub fn suits(self, format: WeightFormat) -> bool {
        !self.is_half() || !matches!(format, WeightFormat::F32 | WeightFormat::Bf16)
    }

    /// What suits an adapter before anything was measured on it.
    pub fn for_adapter(adapter: &AdapterSummary) -> Tile {
        match (adapter.is_software, adapter.subgroup_sizes) {
            (false, _) => Tile::Shared64,
            (true, [4, 4]) => Tile::Subgroup4,
            (true, [8, 8]) if Tile::Subgroup8.has_shaders() => Tile::Subgroup8,
            (true, _) => Tile::Direct,
        }
    }

    /// Whether the build has the tile. That of lavapipe stays out of browsers, whose own CPU adapter is SwiftShader: that
    /// makes 45 kB less to download.
    const fn has_shaders(self) -> bool {
        !matches!(self, Tile::Subgroup8) || cfg!(not(target_arch = "wasm32"))
    }

    /// Whether the tile gives right results on an adapter: a workgroup of 4 or 8 must lie within one
    /// subgroup, and cooperative matrices come in sizes.
    pub fn runs_on(self, adapter: &AdapterSummary) -> bool {
        let (side, subgroup) = self.cooperative();
        let has_matrices = side == 0
            || adapter.cooperative_sides.contains(&side) && adapter.subgroup_sizes == [subgroup, subgroup];
        let has_f16 = adapter.has_f16 || !self.is_half();
        self.has_shaders() && adapter.subgroup_sizes[0] >= self.lanes() && has_f16 && has_matrices
    }

    /// Whether the tile is worth trying on an adapter. GPUs and CPU adapters can run each other's tiles, but
    /// slowly, and their last bits differ in any case.
    pub fn is_for(self, adapter: &AdapterSummary) -> bool {
        self.is_shared() != adapter.is_software && self.runs_on(adapter)
    }

    /// Whether a weight that is not f32 is decoded before the product.
    pub const fn decodes(self) -> bool {
        matches!(self, Tile::Decoded | Tile::Decoded64)
    }

    /// Whether the tile is one for GPUs.
    pub const fn is_shared(self) -> bool {
        matches!(self, Tile::Shared32 | Tile::Shared64 | Tile::Decoded64 | Tile::Shared128) || self.is_half()
    }

    /// Whether the tile stages weights as f16, rounded to the nearest.
    pub const fn is_half(self) -> bool {
        matches!(self, Tile::Half64 | Tile::Half128) || self.cooperative().0 > 0
    }

    /// The rows of the cooperative matrices that the tile multiplies and the invocations of the
    /// subgroup that owns one, or zeros.
    const fn cooperative(self) -> (u32, u32) {
        match self {
            Tile::Cooperative8 => (8, 8),
            Tile::Cooperative16 => (16, 32),
            _ => (0, 0),
        }
    }

    /// Invocations of a subgroup that share their rows, or 0.
    pub(super) const fn lanes(self) -> u32 {
        match self {
            Tile::Subgroup4 => 4,
            Tile::Subgroup8 => 8,
            _ => 0,
        }
    }

    /// The most columns for which [`narrow`] has a kernel of its own: on CPU adapters its invocations lie along
    /// the rows, on GPUs they share the inner dimension. Four tiles across fill a GPU themselves at many rows.
    const fn most_narrow(self) -> u32 {
        match (self.is_shared(), self.lanes()) {
            (true, _) => 256,
            (false, 0) => 0,
            (false, _) => 32,
        }
    }

    /// A recorder for the adapters that this tile is for.
    pub fn recorder(self) -> Recorder {
        match self.is_shared() {
            true => Recorder::new(),
            false => Recorder::for_cpu(self.lanes()),
        }
    }

    /// The workgroups that cover `rows` × `cols` results.
    fn workgroups(self, rows: usize, cols: usize) -> [u32; 3] {
        let [height, width] = match self {
            Tile::Direct | Tile::Decoded => return grid((rows.div_ceil(8) * (cols / 8)).div_ceil(16)),
            Tile::Subgroup4 => [32, 32],
            Tile::Subgroup8 | Tile::Shared32 => [32, 64],
            Tile::Shared64 | Tile::Decoded64 | Tile::Half64 => [64, 64],
            Tile::Cooperative8 | Tile::Cooperative16 => [64, 64],
            Tile::Shared128 | Tile::Half128 => [128, 64],
        };
        grid(rows.div_ceil(height) * cols.div_ceil(width))
    }
}

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

/// A frozen weight on the GPU: its values or codes, and the scales of its blocks.
#[derive(Clone, Copy, Debug)]
pub struct Weight {
    pub format: WeightFormat,
    pub values: Tensor,
    /// One f32 for each block of 64 in NF4; otherwise any tensor.
    pub scales: Tensor,
}

impl Weight {
    /// A dense f32 matrix.
    pub fn f32(values: Tensor) -> Self {
        Weight { format: WeightFormat::F32, values, scales: values }
    }
}

/// The LoRA panel of a product: T and B in forward, dT and A in backward.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    pub t: Tensor,
    pub factor: Tensor,
}

/// Records the decoding of a weight [N, K] to f32.
pub fn decode(rec: &mut Recorder, params: Params, weight: Weight, out: Tensor) {
    let values = u64::from(params.cols) * u64::from(params.depth);
    rec.dispatch(
        format!("linear_decode.{}", weight.format.name()),
        &params,
        &[write(out), read(weight.values), read(weight.scales)],
        grid((values as usize / 8).div_ceil(64)),
        8 * values,
    );
}

/// Whether a decoded copy of a weight fits one binding.
pub fn fits_scratch(cols: usize, depth: usize) -> bool {
    4 * (cols * depth) as u64 <= MAX_BINDING
}

/// The weight as `tile` reads it. One too large for a scratch tensor is decoded where it is used.
fn for_tile(rec: &mut Recorder, tile: Tile, params: Params, weight: Weight) -> Weight {
    let decodes = tile.decodes() && weight.format != WeightFormat::F32;
    if !decodes || !fits_scratch(params.cols as usize, params.depth as usize) {
        return weight;
    }
    let scratch = rec.transient((params.cols * params.depth) as usize);
    decode(rec, params, weight, scratch);
    Weight::f32(scratch)
}

/// Records Y = scale·X·Wᵀ + T·Bᵀ + residual; X [M, x_stride], Y and residual [M, y_stride].
pub fn forward(
    rec: &mut Recorder,
    tile: Tile,
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
    let weight = for_tile(rec, tile, params, weight);
    let bindings = [
        read(x),
        read(weight.values),
        read(weight.scales),
        read(panel.t),
        read(panel.factor),
        read(residual.unwrap_or(x)),
        write(y),
    ];
    let few_rows = params.rows < 8;
    let (shader, workgroups) = if few_rows && tile.lanes() > 0 {
        let count = (params.rows * params.cols.div_ceil(4 * tile.lanes())) as usize;
        (format!("linear_lanes_row.{}.{}", tile.name(), weight.format.name()), grid(count))
    } else if few_rows {
        let count = (params.rows * params.cols.div_ceil(16)) as usize;
        (format!("linear_row.{}", weight.format.name()), grid(count))
    } else {
        let name = format!("linear_forward.{}.{}", tile.variant(weight.format), weight.format.name());
        (name, tile.workgroups(params.rows as usize, params.cols as usize))
    };
    rec.dispatch(shader, &params, &bindings, workgroups, params.flops());
}

/// Records what [`forward`] does for an f32 W [N, K] that may have few rows, such as T = X·Aᵀ: a tile would be
/// mostly empty then.
pub fn narrow(rec: &mut Recorder, tile: Tile, params: Params, x: Tensor, w: Tensor, y: Tensor) {
    if params.cols > tile.most_narrow() || params.rows < 8 {
        return forward(rec, tile, params, x, Weight::f32(w), None, None, y);
    }
    let (shader, workgroups) = match tile.lanes() {
        0 => ("linear_slices_narrow".to_owned(), params.rows.div_ceil(8) * (params.cols / 8)),
        lanes => {
            let workgroups = params.rows.div_ceil(4 * lanes) * (params.cols / 8);
            (format!("linear_narrow.{}", tile.name()), workgroups)
        }
    };
    let bindings = [read(x), read(w), write(y)];
    rec.dispatch(shader, &params, &bindings, grid(workgroups as usize), params.flops());
}

/// Records dX = scale·dY·W + dT·A + residual; dY [M, y_stride], dX and residual [M, x_stride].
pub fn backward(
    rec: &mut Recorder,
    tile: Tile,
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
    let weight = for_tile(rec, tile, params, weight);
    rec.dispatch(
        format!("linear_backward.{}.{}", tile.variant(weight.format), weight.format.name()),
        &params,
        &[
            read(dy),
            read(weight.values),
            read(weight.scales),
            read(panel.t),
            read(panel.factor),
            read(residual.unwrap_or(dy)),
            write(dx),
        ],
        tile.workgroups(params.rows as usize, params.depth as usize),
        params.flops(),
    );
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
        forward(&mut rec, Tile::Shared64, params, x, Weight::f32(w), None, None, y);
    }
}
