//! tabtune fine-tunes language models on WebGPU, in a browser tab or natively.
//!
//! Modules in reading order: errors, files and options; `format` (bytes in), `model` (the decoder),
//! `adapter` (LoRA), `data` (rows to batches), `train` and `generate` (what is done with them),
//! `tune` (which variants this device runs fastest), `api` (the face towards JavaScript). Underneath lie `kernels` (one
//! file per kernel), their plain twins in `reference`, `device` (what runs recordings), `gpu`, the only code that talks to
//! wgpu, and `memory` (handles to tensors, which all of these speak of).

pub mod error;
pub mod files;
pub mod options;

pub mod adapter;
pub mod data;
pub mod export;
pub mod format;
pub mod generate;
pub mod model;
pub mod session;
pub mod train;
pub mod tune;

#[cfg(target_arch = "wasm32")]
mod api;

pub mod cpu;
pub mod device;
pub mod gpu;
pub mod kernels;
pub mod memory;
pub mod reference;
