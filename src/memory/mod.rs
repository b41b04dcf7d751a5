//! Memory without a device: handles to tensors, the plan of those that share memory, and counts.

mod counters;
mod plan;
mod tensor;

pub use counters::Counters;
pub use plan::MemoryPlan;
pub use tensor::{ALIGNMENT, Binding, Class, ProgramId, Tensor, read, write};
pub(crate) use tensor::{Place, add_transient, distinct_bytes, params_bytes};

/// The bytes that WebGPU's default limits let one binding have.
pub const MAX_BINDING: u64 = 128 << 20;

/// The bytes that one binding has at most, whatever the device lets it have. The values of an NF4 weight of so many
/// bytes can still be counted in 32 bits, as shaders and browsers count them.
pub const LARGEST_BINDING: u64 = 1 << 30;
