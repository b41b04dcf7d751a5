//! The processor as a device: the kernels of `tabtune-cpu` on a memory and its workers.
//!
//! It is laid out as a GPU is: [`Calls`] are what a recording is lowered to, a workspace makes them real, and a
//! [`Machine`] runs lists of them in order. Natively the machine is threads on the process's own memory; in browsers it
//! is workers on a memory of their own.

mod buffer;
mod calls;
mod device;
#[cfg(not(target_arch = "wasm32"))]
#[path = "native.rs"]
mod machine;
#[cfg(target_arch = "wasm32")]
#[path = "browser.rs"]
mod machine;
mod workspace;

pub(crate) use buffer::{Buffer, Readback};
pub(crate) use calls::Call;
pub use calls::Calls;
pub use device::Cpu;
use machine::Machine;
pub(crate) use workspace::Workspace;
