//! What runs recordings: one face, an enum over GPUs and the processor, so that model and trainer name none.

mod readback;
mod store;
mod workspace;

pub use readback::{Readback, ReadbackRing};
pub use store::Store;
pub use workspace::Workspace;

use std::rc::Rc;
use std::str::FromStr;

use crate::bail;
use crate::cpu::{self, Calls, Cpu};
use crate::error::{Error, Result};
use crate::gpu::{self, Adapter, AdapterSummary, Dispatches, Gpu};
use crate::memory::{Counters, LARGEST_BINDING, MemoryPlan};

/// A device that is open. Cloning shares it.
#[derive(Clone)]
pub enum Device {
    Gpu(Gpu),
    /// With what people are told of it.
    Cpu(Cpu, Rc<AdapterSummary>),
}

/// The device that is asked for, by the names of transformers.js.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceOption {
    /// A GPU where there is a real one, otherwise the processor.
    Auto,
    /// WebGPU, or its like natively, even where the processor plays the GPU.
    #[default]
    Webgpu,
    Cpu,
}

impl FromStr for DeviceOption {
    type Err = Error;

    /// Fails with code `bad-option`.
    fn from_str(name: &str) -> Result<Self> {
        match name {
            "auto" => Ok(DeviceOption::Auto),
            "webgpu" => Ok(DeviceOption::Webgpu),
            "cpu" => Ok(DeviceOption::Cpu),
            _ => bail!(BadOption, "device must be auto, webgpu or cpu, not \"{name}\""),
        }
    }
}

impl From<Gpu> for Device {
    fn from(gpu: Gpu) -> Self {
        Device::Gpu(gpu)
    }
}

impl From<Cpu> for Device {
    fn from(cpu: Cpu) -> Self {
        let workers = cpu.workers();
        let summary = AdapterSummary {
            name: format!("{workers} worker{} on the processor", if workers == 1 { "" } else { "s" }),
            backend: "cpu".to_owned(),
            driver: cpu.flavour().to_owned(),
            browser: String::new(),
            is_software: true,
            max_buffer_bytes: LARGEST_BINDING,
            max_storage_binding_bytes: LARGEST_BINDING,
            max_workgroup_storage_bytes: 0,
            subgroup_sizes: [0, 0],
            has_f16: false,
            cooperative_sides: Vec::new(),
            has_timestamps: false,
        };
        Device::Cpu(cpu, Rc::new(summary))
    }
}

/// What a recording is lowered to, for a device of one kind.
#[derive(Clone, Debug)]
pub enum Lowered {
    Gpu(Dispatches),
    Cpu(Calls),
}

impl Lowered {
    /// Where the transient tensors lie.
    pub fn plan(&self) -> MemoryPlan {
        match self {
            Lowered::Gpu(dispatches) => dispatches.plan(),
            Lowered::Cpu(calls) => calls.plan(),
        }
    }

    /// The bytes that its parameters take beside its tensors.
    pub fn params_bytes(&self) -> u64 {
        match self {
            Lowered::Gpu(dispatches) => gpu::Workspace::params_bytes(dispatches),
            Lowered::Cpu(calls) => cpu::Workspace::params_bytes(calls),
        }
    }
}

impl From<Dispatches> for Lowered {
    fn from(dispatches: Dispatches) -> Self {
        Lowered::Gpu(dispatches)
    }
}

/// The flavour of GPUs, which tiles tell apart further.
pub const GPU: &str = "webgpu";

impl Device {
    /// What decides over the last bits of a run: "webgpu", or "cpu" with its instructions.
    pub fn flavour(&self) -> String {
        match self {
            Device::Gpu(_) => GPU.to_owned(),
            Device::Cpu(cpu, _) => format!("cpu, {}", cpu.flavour()),
        }
    }

    /// Opens the machine's GPU. Code `webgpu-unavailable` where there is none.
    pub async fn open() -> Result<Self> {
        Ok(Gpu::open(&Adapter::request().await?).await?.into())
    }

    /// Opens what is asked for. Code `webgpu-unavailable` where that is a GPU and there is none.
    #[cfg(not(target_arch = "wasm32"))]
    pub async fn open_as(wanted: DeviceOption) -> Result<Self> {
        match wanted {
            DeviceOption::Webgpu => Device::open().await,
            DeviceOption::Cpu => Ok(Cpu::open(None)?.into()),
            DeviceOption::Auto => match Device::open().await {
                Ok(device) if !device.summary().is_software => Ok(device),
                Err(error) if error.code != crate::error::Code::WebgpuUnavailable => Err(error),
                _ => Ok(Cpu::open(None)?.into()),
            },
        }
    }

    /// The GPU, if it is one.
    pub fn gpu(&self) -> Option<&Gpu> {
        match self {
            Device::Gpu(gpu) => Some(gpu),
            Device::Cpu(..) => None,
        }
    }

    pub fn summary(&self) -> &AdapterSummary {
        match self {
            Device::Gpu(gpu) => gpu.summary(),
            Device::Cpu(_, summary) => summary,
        }
    }

    pub fn counters(&self) -> &Counters {
        match self {
            Device::Gpu(gpu) => gpu.counters(),
            Device::Cpu(cpu, _) => cpu.counters(),
        }
    }

    /// The most bytes of one tensor.
    pub fn max_binding(&self) -> u64 {
        match self {
            Device::Gpu(gpu) => gpu.max_binding(),
            Device::Cpu(..) => LARGEST_BINDING,
        }
    }

    /// Fails when the device was lost, or reported an error since this was asked last.
    pub fn check(&self) -> Result<()> {
        match self {
            Device::Gpu(gpu) => gpu.check(),
            // What goes wrong there is told by the next answer.
            Device::Cpu(..) => Ok(()),
        }
    }

    /// Does `work`, which allocates and cannot wait; see [`Gpu::allocating`].
    pub async fn allocating<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        match self {
            Device::Gpu(gpu) => gpu.allocating(work).await,
            Device::Cpu(..) => work(),
        }
    }

    /// The bytes that it takes before any tensor is made.
    pub fn own_bytes(&self) -> u64 {
        match self {
            Device::Gpu(_) => 0,
            Device::Cpu(cpu, _) => cpu.own_bytes(),
        }
    }

    /// The bytes that it took from its system, where that is known: those of buffers, and what lies idle between them.
    pub fn reserved_bytes(&self) -> Option<u64> {
        match self {
            Device::Gpu(gpu) => gpu.reserved_bytes(),
            Device::Cpu(cpu, _) => cpu.reserved_bytes(),
        }
    }

    /// Waits until all that was started is done.
    pub async fn idle(&self) {
        match self {
            Device::Gpu(gpu) => gpu.idle().await,
            Device::Cpu(cpu, _) => cpu.idle().await.unwrap_or_default(),
        }
    }

    /// Learns the length of submits from a run of `flops` that took `seconds` in all. The processor has none.
    pub fn learn_speed(&self, flops: u64, seconds: f64) {
        match self {
            Device::Gpu(gpu) => gpu.learn_speed(flops, seconds),
            Device::Cpu(..) => {}
        }
    }
}

/// The memory of a tensor, counted while it lives.
pub(crate) enum Buffer {
    Gpu(gpu::Buffer),
    Cpu(cpu::Buffer),
}

impl Buffer {
    fn new(device: &Device, label: &str, size: u64) -> Result<Self> {
        Ok(match device {
            Device::Gpu(gpu) => Buffer::Gpu(gpu::Buffer::for_tensors(gpu, label, size)),
            Device::Cpu(cpu, _) => Buffer::Cpu(cpu::Buffer::new(cpu, size)?),
        })
    }

    /// Writes `bytes` at `offset`, both multiples of 4, after all work started so far.
    fn write(&self, offset: u64, bytes: &[u8]) {
        match self {
            Buffer::Gpu(buffer) => buffer.write(offset, bytes),
            Buffer::Cpu(buffer) => buffer.write(offset, bytes),
        }
    }
}
