//! Training: options, schedule, batches on the GPU, the step.

mod batch;
pub mod options;
mod recording;
pub mod schedule;
mod trainer;

pub use batch::FlatBatch;
pub use trainer::{EvalLog, GpuBytes, StepLog, Trainer, TrainerSetup};
