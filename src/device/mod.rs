//! What runs recordings: one face, an enum over kinds of devices, so that model and trainer name none.

mod readback;
mod store;
mod workspace;

pub use readback::{Readback, ReadbackRing};
pub use store::Store;
pub use workspace::Workspace;

use crate::error::Result;
use crate::gpu::{self, Adapter, AdapterSummary, Dispatches, Gpu};
use crate::memory::{Counters, MemoryPlan};

/// A device that is open. Cloning shares it.
#[derive(Clone)]
pub enum Device {
    Gpu(Gpu),
}

impl From<Gpu> for Device {
    fn from(gpu: Gpu) -> Self {
        Device::Gpu(gpu)
    }
}

/// What a recording is lowered to, for a device of one kind.
#[derive(Clone, Debug)]
pub enum Lowered {
    Gpu(Dispatches),
}

impl Lowered {
    /// Where the transient tensors lie.
    pub fn plan(&self) -> MemoryPlan {
        match self {
            Lowered::Gpu(dispatches) => dispatches.plan(),
        }
    }

    /// The bytes that its parameters take beside its tensors.
    pub fn params_bytes(&self) -> u64 {
        match self {
            Lowered::Gpu(dispatches) => gpu::Workspace::params_bytes(dispatches),
        }
    }
}

impl From<Dispatches> for Lowered {
    fn from(dispatches: Dispatches) -> Self {
        Lowered::Gpu(dispatches)
    }
}

impl Device {
    /// Opens the machine's GPU. Code `webgpu-unavailable` where there is none.
    pub async fn open() -> Result<Self> {
        Ok(Gpu::open(&Adapter::request().await?).await?.into())
    }

    /// The GPU that it is.
    pub fn gpu(&self) -> &Gpu {
        match self {
            Device::Gpu(gpu) => gpu,
        }
    }

    pub fn summary(&self) -> &AdapterSummary {
        match self {
            Device::Gpu(gpu) => gpu.summary(),
        }
    }

    pub fn counters(&self) -> &Counters {
        match self {
            Device::Gpu(gpu) => gpu.counters(),
        }
    }

    /// The most bytes of one tensor.
    pub fn max_binding(&self) -> u64 {
        match self {
            Device::Gpu(gpu) => gpu.max_binding(),
        }
    }

    /// Fails when the device was lost, or reported an error since this was asked last.
    pub fn check(&self) -> Result<()> {
        match self {
            Device::Gpu(gpu) => gpu.check(),
        }
    }

    /// Does `work`, which allocates and cannot wait; see [`Gpu::allocating`].
    pub async fn allocating<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        match self {
            Device::Gpu(gpu) => gpu.allocating(work).await,
        }
    }

    /// Waits until all that was started is done.
    pub async fn idle(&self) {
        match self {
            Device::Gpu(gpu) => gpu.idle().await,
        }
    }

    /// Learns the length of submits from a run of `flops` that took `seconds` in all.
    pub fn learn_speed(&self, flops: u64, seconds: f64) {
        match self {
            Device::Gpu(gpu) => gpu.learn_speed(flops, seconds),
        }
    }
}

/// The memory of a tensor, counted while it lives.
pub(crate) enum Buffer {
    Gpu(gpu::Buffer),
}

impl Buffer {
    fn new(device: &Device, label: &str, size: u64) -> Result<Self> {
        Ok(match device {
            Device::Gpu(gpu) => Buffer::Gpu(gpu::Buffer::for_tensors(gpu, label, size)),
        })
    }

    /// Writes `bytes` at `offset`, both multiples of 4, after all work started so far.
    fn write(&self, offset: u64, bytes: &[u8]) {
        match self {
            Buffer::Gpu(buffer) => buffer.write(offset, bytes),
        }
    }
}
