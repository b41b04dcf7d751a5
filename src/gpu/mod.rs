//! The only code that talks to wgpu: device, buffers, dispatches and their replay.

#[cfg(target_arch = "wasm32")]
mod browser;
mod buffer;
mod device;
mod dispatches;
mod readback;
mod workspace;

pub(crate) use buffer::Buffer;
pub use device::{Adapter, AdapterSummary, Gpu};
pub(crate) use dispatches::{Dispatch, Op, Piece};
pub use dispatches::{Dispatches, grid};
pub(crate) use readback::{Readback, Staging};
pub(crate) use workspace::Workspace;
