//! The kernels of tabtune for processors: what the WGSL of the same names computes, on plain memory.
//!
//! Natively the engine links this crate. In browsers it is a WebAssembly module of its own that imports a memory which
//! several workers share. Nothing here allocates, starts threads or knows the engine.
//!
//! A [`Call`] is a kernel on its operands, which are bound in the order of the WGSL's bindings. It is cut into tasks by
//! its sizes alone. Tasks write disjoint places and may run in any order on any worker, so that results are the same
//! to the bit for any number of workers.

#![cfg_attr(target_arch = "wasm32", no_std)]

mod adafactor;
mod adamw;
mod args;
mod attention;
mod bias;
mod cross_entropy;
mod dora;
mod dropout;
mod embedding;
mod glu;
mod grad_norm;
mod head_norm;
mod kv_append;
mod lanes;
mod linear;
mod lora_grad;
mod memory;
mod mezo;
mod nested_scales;
pub mod params;
mod preference;
mod random;
mod rms_norm;
mod rope;
mod rounding;
mod rows;
mod sgd;
mod simd;
mod table;
#[cfg(test)]
mod testing;

pub use simd::Level;
pub use table::NAMES;

/// An operand: the values bound at one place.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// Aligned to 16 bytes.
    pub start: *mut u32,
    pub bytes: usize,
}

/// A kernel on its operands.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Index in [`NAMES`].
    pub kernel: u32,
    /// The kernel's struct of [`params`].
    pub params: *const u32,
    pub operands: *const Operand,
    pub count: u32,
}

/// The f32 values of scratch that a worker brings to every task: packed panels of a product.
pub const SCRATCH: usize = 64 * 1024;

/// The index of a kernel's name.
pub fn index(name: &str) -> Option<u32> {
    NAMES.iter().position(|&known| known == name).map(|index| index as u32)
}

/// The tasks that a call is cut into.
///
/// # Safety
///
/// `kernel`, `params` and `operands` of the call are valid.
pub unsafe fn tasks(call: &Call) -> u32 {
    // SAFETY: The caller promises what Args asks for.
    let args = unsafe { args::Args::new(call) };
    (table::ENTRIES[call.kernel as usize].tasks)(&args)
}

/// Runs one task of a call.
///
/// # Safety
///
/// `kernel`, `params` and `operands` of the call are valid. While the task runs, nothing but other tasks of the same call
/// writes the operands, and each task runs once. The machine has what `level` needs.
///
/// # Panics
///
/// Where an operand is shorter than the parameters say, or `scratch` shorter than [`SCRATCH`].
pub unsafe fn run(level: Level, call: &Call, task: u32, scratch: &mut [f32]) {
    // SAFETY: The caller promises what Args asks for.
    let args = unsafe { args::Args::new(call) };
    let run = table::ENTRIES[call.kernel as usize].run(level);
    // SAFETY: The caller promises that the machine has the level.
    unsafe { run(&args, task, &mut scratch[..SCRATCH]) };
}
