//! Generation with a key-value cache, with the adapter on or off.

mod generator;
mod sample;

pub use generator::{Generator, Stop};
pub use sample::{Sampler, SamplingOptions};
