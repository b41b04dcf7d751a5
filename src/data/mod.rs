//! From JSONL rows to token ids with a loss mask, to the rows of each micro-batch.
//!
//! Follows TRL's `SFTTrainer`: where one of these rules is off, losses still fall and the result is
//! quietly another one.

pub mod batches;
pub mod dataset;
pub mod encode;
pub mod example;
#[cfg(target_arch = "wasm32")]
pub mod idb_store;
pub mod lines;
pub mod store;
pub mod template;
pub mod tokenizer;
