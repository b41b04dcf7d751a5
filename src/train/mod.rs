//! Training: options, schedule, batches on the GPU, the step.

mod batch;
pub mod checkpoint;
pub mod options;
mod planning;
mod recording;
pub mod runs;
pub mod schedule;
mod trainer;

pub use batch::FlatBatch;
pub use planning::{Footprint, GpuBytes, RunPlan};
pub use trainer::{EvalLog, StepLog, Trainer, TrainerSetup};
