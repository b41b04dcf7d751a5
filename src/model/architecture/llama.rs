//! Llama 2 and 3, SmolLM2, TinyLlama (`LlamaConfig`) and Mistral (`MistralConfig`).

use super::decoder::{Defaults, LLAMA, read_biases, read_decoder};
use super::fields::Fields;
use super::{Architecture, View};
use crate::error::Result;

pub(super) fn llama(fields: &Fields) -> Result<Architecture> {
    let mut architecture = read_decoder(fields, &LLAMA)?;
    read_biases(fields, &mut architecture)?;
    Ok(architecture)
}

/// Every layer has the same window: `null` means none, and the class's default is 4096.
pub(super) fn mistral(fields: &Fields) -> Result<Architecture> {
    let mut architecture = read_decoder(fields, &Defaults { kv_heads: Some(8), context: 131_072, ..LLAMA })?;
    let window = match fields.has("sliding_window") {
        false => Some(4096),
        true if fields.integer("sliding_window")?.is_none() => None,
        true => Some(fields.positive_or("sliding_window", 0)?),
    };
    architecture.views = vec![window.map_or(View::All, View::Window)];
    Ok(architecture)
}
