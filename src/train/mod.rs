//! Training: options, schedule, batches on the GPU, the step.

mod batch;
mod log;
mod objective;
mod optimizer;
pub mod options;
mod pace;
mod planning;
pub mod saved;
pub mod schedule;
mod scorer;
mod state;
mod step;
mod trainer;

pub use batch::FlatBatch;
pub use log::{EvalLog, Line, Metrics, StepLog};
pub use planning::{Footprint, GpuBytes, RunPlan};
pub use scorer::{RowScore, Scorer};
pub use state::StoreState;
pub use trainer::{Trainer, TrainerSetup};
