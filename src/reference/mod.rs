//! A plain twin of each kernel, generic over f32 and f64: what the WGSL must compute.

#![allow(clippy::needless_range_loop, reason = "the loops read like the equations")]

pub mod adafactor;
pub mod adamw;
pub mod attention;
pub mod bias;
pub mod cross_entropy;
pub mod dora;
pub mod dropout;
pub mod embedding;
pub mod finite_difference;
pub mod glu;
pub mod grad_norm;
pub mod head_norm;
pub mod kv_append;
pub mod linear;
pub mod lora_grad;
pub mod mezo;
pub mod nested_scales;
pub mod preference;
mod random;
pub mod rms_norm;
pub mod rope;
pub mod rounding;
pub mod rows;
pub mod sgd;
