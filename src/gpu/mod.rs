//! The only code that talks to wgpu: device, memory, programs and their replay.

#[cfg(target_arch = "wasm32")]
mod browser;
mod counters;
mod device;
mod plan;
mod readback;
mod recorder;
mod store;
mod workspace;

pub use counters::Counters;
pub use device::{Adapter, AdapterSummary, Gpu};
pub use plan::MemoryPlan;
pub use readback::{Readback, ReadbackRing};
pub use recorder::{ALIGNMENT, Binding, ProgramId, Recorder, Tensor, grid, read, write};
pub use store::{Class, LARGEST_BINDING, MAX_BINDING, Store};
pub use workspace::Workspace;
