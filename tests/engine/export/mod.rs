//! Exports against PEFT, and what they do with files that are awkward.

mod gguf;
mod merged;
mod sink;
