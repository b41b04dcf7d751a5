//! GGUF, the files of llama.cpp: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod kinds;
mod names;

pub use kinds::GgmlType;
pub use names::{Heads, Names, gguf_row, hf_row};
