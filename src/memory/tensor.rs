//! Handles to tensors and programs: all that model code knows of a device.

use std::collections::HashSet;

use bytemuck::Pod;

/// What a kept tensor is for; the memory report adds up by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Weights,
    Adapter,
    Optimizer,
    Other,
}

/// Where a tensor's bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// Tensor `n` of a store: weights, adapter, optimiser, inputs.
    Kept(u32),
    /// Tensor `n` of a recording or of its lowering, which shares memory with others whose uses do not overlap.
    Transient(u32),
}

/// A handle to bytes on a device: a whole buffer or an aligned part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tensor {
    pub(crate) place: Place,
    /// In bytes; a multiple of [`ALIGNMENT`].
    pub(crate) offset: u64,
    /// In bytes.
    pub(crate) size: u64,
}

/// The offset alignment that WebGPU guarantees for storage and uniform bindings, in bytes.
pub const ALIGNMENT: u64 = 256;

impl Tensor {
    /// The part of this tensor at `offset` (bytes, a multiple of [`ALIGNMENT`]) with `size` bytes.
    pub fn slice(self, offset: u64, size: u64) -> Tensor {
        assert!(offset.is_multiple_of(ALIGNMENT), "slice at {offset} is not aligned");
        assert!(offset + size <= self.size, "slice {offset}+{size} passes the end {}", self.size);
        Tensor { place: self.place, offset: self.offset + offset, size }
    }

    /// The length in bytes.
    pub fn size(self) -> u64 {
        self.size
    }
}

/// How a kernel uses a tensor. WGSL declares it `read` or `read_write` alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    pub(crate) tensor: Tensor,
    pub(crate) writable: bool,
}

/// Bound as `var<storage, read>`.
pub fn read(tensor: Tensor) -> Binding {
    Binding { tensor, writable: false }
}

/// Bound as `var<storage, read_write>`.
pub fn write(tensor: Tensor) -> Binding {
    Binding { tensor, writable: true }
}

/// Identifies a program within its recording, and within what that is lowered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramId(pub(crate) usize);

/// The bytes of a `Params` struct as it is bound, padded to a multiple of 16.
pub(crate) fn params_bytes<P: Pod>(params: &P) -> Vec<u8> {
    let mut bytes = bytemuck::bytes_of(params).to_vec();
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    bytes
}

/// Makes a transient tensor of `elements` 4-byte values that holds nothing before its first use.
pub(crate) fn add_transient(transients: &mut Vec<u64>, elements: usize) -> Tensor {
    let size = (elements as u64 * 4).max(16);
    transients.push(size);
    Tensor { place: Place::Transient(transients.len() as u32 - 1), offset: 0, size }
}

/// The bytes of `tensors`, each counted once: where a kernel has nothing to bind, another of its
/// tensors fills the place.
pub(crate) fn distinct_bytes(tensors: &[Tensor]) -> u64 {
    let distinct: HashSet<&Tensor> = tensors.iter().collect();
    distinct.iter().map(|tensor| tensor.size).sum()
}
