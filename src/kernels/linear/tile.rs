//! How a product is cut for adapters of different kinds.

use serde::{Deserialize, Serialize};

use crate::format::WeightFormat;
use crate::gpu::{AdapterSummary, grid};
use crate::kernels::shaders;

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

    /// The name of the shader variant.
    pub(super) const fn variant(self) -> &'static str {
        match self {
            Tile::Decoded => Tile::Direct.name(),
            Tile::Decoded64 => Tile::Shared64.name(),
            tile => tile.name(),
        }
    }

    /// Whether the build has shaders by which the tile reads a weight as it is stored. A weight that it does not read is
    /// decoded to f32 for it, but for a product of few rows.
    pub fn reads(self, format: WeightFormat) -> bool {
        shaders::has(&format!("linear_backward.{}.{}", self.variant(), format.name()))
    }

    /// Whether every tile of the build, or what stands in for it, reads a weight as it is stored.
    pub fn all_read(format: WeightFormat) -> bool {
        Tile::ALL.into_iter().filter(|tile| tile.has_shaders()).all(|tile| tile.on(format).reads(format))
    }

    /// The tile that stands in for this one on a weight that it does not suit.
    pub(in crate::kernels) fn on(self, format: WeightFormat) -> Tile {
        match self {
            tile if tile.suits(format) => tile,
            Tile::Half64 | Tile::Cooperative8 | Tile::Cooperative16 => Tile::Shared64,
            Tile::Half128 => Tile::Shared128,
            tile => tile,
        }
    }

    /// Whether the tile is worth trying for a weight. Staging as f16 would change the values of a
    /// checkpoint in f32 or bf16; those of one in f16 it keeps, and NF4 is rounded to f16 by everybody
    /// (bitsandbytes' `bnb_4bit_compute_dtype`). What a tile decodes without being told to is f32.
    pub fn suits(self, format: WeightFormat) -> bool {
        match format {
            WeightFormat::F32 | WeightFormat::Bf16 => !self.is_half(),
            _ => self.reads(format) || !self.is_half() && !self.decodes(),
        }
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
    pub(in crate::kernels) const fn lanes(self) -> u32 {
        match self {
            Tile::Subgroup4 => 4,
            Tile::Subgroup8 => 8,
            _ => 0,
        }
    }

    /// The most columns for which [`super::narrow`] has a kernel of its own: on CPU adapters its invocations lie along
    /// the rows, on GPUs they share the inner dimension. Four tiles across fill a GPU themselves at many rows.
    pub(super) const fn most_narrow(self) -> u32 {
        match (self.is_shared(), self.lanes()) {
            (true, _) => 256,
            (false, 0) => 0,
            (false, _) => 32,
        }
    }

    /// The workgroups that cover `rows` × `cols` results.
    pub(super) fn workgroups(self, rows: usize, cols: usize) -> [u32; 3] {
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
