//! Training: options, schedule, batches on the GPU, the step.

mod batch;
pub mod checkpoint;
mod log;
pub mod options;
mod pace;
mod planning;
mod recording;
pub mod runs;
pub mod schedule;
mod trainer;

pub use batch::FlatBatch;
pub use log::{EvalLog, Line, StepLog};
pub use planning::{Footprint, GpuBytes, RunPlan};
pub use trainer::{Trainer, TrainerSetup};
