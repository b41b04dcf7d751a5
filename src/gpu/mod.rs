//! The only code that talks to wgpu: device, memory, programs and their replay.

#[cfg(target_arch = "wasm32")]
mod browser;
mod counters;
mod device;
mod dispatches;
mod plan;
mod readback;
mod store;
mod workspace;

pub use counters::Counters;
pub use device::{Adapter, AdapterSummary, Gpu};
pub use dispatches::{ALIGNMENT, Binding, Dispatches, ProgramId, Tensor, grid, read, write};
pub(crate) use dispatches::{Dispatch, Op, Piece, add_transient, params_bytes};
pub use plan::MemoryPlan;
pub use readback::{Readback, ReadbackRing};
pub use store::{Class, LARGEST_BINDING, MAX_BINDING, Store};
pub use workspace::Workspace;
