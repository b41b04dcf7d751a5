//! Measures tabtune on the adapter at hand: its kernels against what the adapter can do at most, whole
//! training steps, generation, and the training step that peers run.
//!
//! Everything is asynchronous over [`tabtune::gpu::Gpu`] and uses only the engine's public parts, so
//! the same code runs natively (`main.rs`) and in a browser (`web.rs`). Results are lines of JSON on
//! the output, and tables for people at the end.

pub mod arena;
pub mod ceilings;
pub mod generate;
pub mod kernels;
pub mod loss;
pub mod naive;
pub mod options;
pub mod output;
pub mod peer;
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
pub mod work;

mod run;
#[cfg(target_arch = "wasm32")]
mod web;

pub use run::run;

use tabtune::device::{Device, DeviceOption};
use tabtune::error::Result;

/// Opens a GPU of its own for a measurement, so that nothing lies on it but what is measured. An
/// adapter gives a browser one device only, so it is asked for anew.
pub async fn open() -> Result<Device> {
    Device::open().await
}

/// Opens what was asked for.
#[cfg(not(target_arch = "wasm32"))]
pub async fn open_as(wanted: DeviceOption) -> Result<Device> {
    Device::open_as(wanted).await
}

/// Opens what was asked for.
#[cfg(target_arch = "wasm32")]
pub async fn open_as(wanted: DeviceOption) -> Result<Device> {
    match wanted {
        DeviceOption::Cpu => Ok(web::processor().await?.into()),
        DeviceOption::Auto | DeviceOption::Webgpu => open().await,
    }
}
