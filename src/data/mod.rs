//! From files to rows, from rows to token ids with a loss mask, to the rows of each micro-batch.
//!
//! Tokens and masks follow TRL's `SFTTrainer`: where one of these rules is off, losses still fall and the
//! result is quietly another one.

pub mod batches;
pub mod encode;
pub mod example;
pub mod formats;
#[cfg(target_arch = "wasm32")]
pub mod idb_kv;
pub mod import;
pub mod inspect;
pub mod kv;
pub mod library;
pub mod lines;
pub mod look;
pub mod notice;
pub mod pack;
pub mod rename;
pub mod scores;
pub mod shape;
pub mod template;
pub mod tokenizer;
mod tokenizer_class;
pub mod tokens;
