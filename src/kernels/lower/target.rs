//! What kernels must know of an adapter to choose their variants.

use super::tiles::Tiles;
use crate::device::Device;
use crate::kernels::linear::Tile;

/// Floating-point operations of the pieces of a kernel that can be cut, on GPUs and on CPU adapters. A submit is at
/// least one piece, and Windows resets a GPU whose submit takes two seconds: a weak one does these in a fraction of
/// that. A run joins the pieces that fit one submit.
const MOST_FLOPS: [u64; 2] = [5_000_000_000, 500_000_000];

/// What a recording is lowered for.
#[derive(Clone, Debug)]
pub enum Target {
    Gpu(GpuTarget),
    /// The processor, whose kernels cut themselves into tasks.
    Cpu,
}

impl Target {
    /// What suits `device`; its products take `tiles` where it is a GPU.
    pub fn of(device: &Device, tiles: &Tiles) -> Self {
        match device {
            Device::Gpu(_) => Target::from(tiles),
            Device::Cpu(..) => Target::Cpu,
        }
    }

    /// The same with dispatches cut at so many floating-point operations, where there are dispatches.
    pub fn cut_at(self, most_flops: u64) -> Self {
        match self {
            Target::Gpu(target) => Target::Gpu(GpuTarget { most_flops, ..target }),
            Target::Cpu => Target::Cpu,
        }
    }
}

/// Adapters of one kind, and the tiles of their products.
#[derive(Clone, Debug)]
pub struct GpuTarget {
    tiles: Tiles,
    most_flops: u64,
}

impl From<&Tiles> for GpuTarget {
    fn from(tiles: &Tiles) -> Self {
        let is_cpu = !tiles.default.is_shared();
        GpuTarget { tiles: tiles.clone(), most_flops: MOST_FLOPS[usize::from(is_cpu)] }
    }
}

impl From<Tile> for GpuTarget {
    fn from(default: Tile) -> Self {
        GpuTarget::from(&Tiles::from(default))
    }
}

impl From<&Tiles> for Target {
    fn from(tiles: &Tiles) -> Self {
        Target::Gpu(tiles.into())
    }
}

impl From<Tile> for Target {
    fn from(default: Tile) -> Self {
        Target::Gpu(default.into())
    }
}

impl GpuTarget {
    pub(in crate::kernels) fn tiles(&self) -> &Tiles {
        &self.tiles
    }

    /// For what is tiled alike whatever its shape.
    pub(in crate::kernels) fn tile(&self) -> Tile {
        self.tiles.default
    }

    /// Invocations of a subgroup that kernels may count on: 4 or 8, and 0 on GPUs and where it may have any size.
    pub(in crate::kernels) fn lanes(&self) -> u32 {
        self.tile().lanes()
    }

    /// Floating-point operations at which a kernel that can be cut by rows is.
    pub(in crate::kernels) fn most_flops(&self) -> u64 {
        self.most_flops
    }

    /// The variant of a kernel that has one for a workgroup together and one for each invocation alone, and how many
    /// rows of `length` a workgroup takes. On CPU adapters a barrier suspends every invocation.
    pub(in crate::kernels) fn team(&self, kernel: &str, length: usize) -> (String, usize) {
        const ALONE: usize = 8;
        // In long rows the barriers weigh little, and one chain of sums would lose digits.
        const LONGEST_ALONE: usize = 16_384;
        match !self.tile().is_shared() && length <= LONGEST_ALONE {
            true => (format!("{kernel}.alone"), ALONE),
            false => (format!("{kernel}.group"), 1),
        }
    }
}
