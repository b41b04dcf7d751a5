//! The structs and constants of the engine's `src/kernels`, by the names of its modules, and those of formats.

#![allow(missing_docs, dead_code)]

include!(concat!(env!("OUT_DIR"), "/params.rs"));
