//! The host half of each kernel: its parameters, its operands, and what a target runs of it.
//!
//! A kernel is four things under one name: the WGSL in `shaders/`, the file here, the plain twin in
//! [`crate::reference`] and the test in `tests/kernels/`. A file here records calls, which know no device, and lowers
//! them; what kernels share lies in folders.
//!
//! A struct here that is `#[repr(C)]` is one that shaders take: `build.rs` writes its WGSL.

pub mod adafactor;
pub mod adamw;
pub mod attention;
pub mod bias;
pub mod cross_entropy;
pub mod dora;
pub mod dropout;
pub mod embedding;
pub mod glu;
pub mod grad_norm;
pub mod head_norm;
pub mod kv_append;
pub mod linear;
pub mod lora_grad;
pub mod lower;
pub mod mezo;
pub mod nested_scales;
pub mod preference;
mod recorder;
pub mod rms_norm;
pub mod rope;
pub mod rounding;
pub mod rows;
pub mod sgd;
pub mod shaders;

use std::borrow::Cow;

pub use lower::tiles;
pub use recorder::Recorder;

/// `text` as browsers want it: subgroups enabled by name where it uses them. naga, which compiles it
/// elsewhere, knows no such name and needs none.
pub fn for_browsers(text: &str) -> Cow<'_, str> {
    match ["subgroup", "quadSwap"].iter().any(|name| text.contains(name)) {
        true => format!("enable subgroups;\n{text}").into(),
        false => text.into(),
    }
}
