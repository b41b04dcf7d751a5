//! Measures tabtune on the adapter at hand: its kernels against what the adapter can do at most, whole
//! training steps, generation, and the training step that peers run.
//!
//! Everything is asynchronous over [`tabtune::gpu::Gpu`] and uses only the engine's public parts, so
//! the same code runs natively (`main.rs`) and in a browser (`web.rs`). Results are lines of JSON on
//! the output, and tables for people at the end.

pub mod arena;
pub mod ceilings;
pub mod generate;
pub mod heap;
pub mod kernels;
pub mod loss;
pub mod naive;
pub mod options;
pub mod output;
pub mod peer;
pub mod products;
pub mod profile;
pub mod race;
pub mod ratios;
pub mod report;
pub mod shapes;
pub mod step;
pub mod synthetic;
pub mod tiles;
pub mod timing;
pub mod training;
pub mod ways;
pub mod work;

mod run;
#[cfg(target_arch = "wasm32")]
mod web;

pub use run::run;

use tabtune::cpu::Cpu;
use tabtune::device::{Device, DeviceOption};
use tabtune::error::Result;

use options::Options;

/// Opens a GPU of its own for a measurement, so that nothing lies on it but what is measured. An
/// adapter gives a browser one device only, so it is asked for anew.
pub async fn open() -> Result<Device> {
    Device::open().await
}

/// Opens the device that `options` name.
pub async fn open_for(options: &Options) -> Result<Device> {
    match options.device {
        DeviceOption::Cpu => Ok(processor(options.workers).await?.into()),
        DeviceOption::Auto | DeviceOption::Webgpu => open().await,
    }
}

#[cfg(not(target_arch = "wasm32"))]
async fn processor(workers: Option<usize>) -> Result<Cpu> {
    Cpu::open(workers)
}

#[cfg(target_arch = "wasm32")]
async fn processor(workers: Option<usize>) -> Result<Cpu> {
    web::processor(workers).await
}
