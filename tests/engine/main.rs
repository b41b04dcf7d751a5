//! What the engine does, from files and rows to adapters and models. One program, because each compiles anew what of the engine
//! depends on where files and rows come from; what has a program of its own is packed, counts allocations, or runs alone.

mod adapters;
mod blend;
mod cases;
mod data;
mod export;
mod format;
#[path = "../support/gpu.rs"]
mod gpu;
mod resume;
mod saved;
mod saved_adapter;
mod session;
mod tune;
