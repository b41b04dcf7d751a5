//! Qwen2, Qwen2.5 (`Qwen2Config`) and the dense models of Qwen3 (`Qwen3Config`).

use super::decoder::{Defaults, LLAMA, add_biases, read_decoder, read_layer_types, set_windows};
use super::fields::Fields;
use super::{Architecture, Group};
use crate::error::Result;

const QWEN2: Defaults<'_> =
    Defaults { kv_heads: Some(32), context: 32_768, vocab: Some(151_936), eos: None, ..LLAMA };

/// Queries, keys and values always have biases.
pub(super) fn qwen2(fields: &Fields) -> Result<Architecture> {
    let mut architecture = read_decoder(fields, &QWEN2)?;
    add_biases(&mut architecture, &[Group::Qkv]);
    read_windows(fields, &mut architecture)?;
    Ok(architecture)
}

/// Each head of queries and keys is normed.
pub(super) fn qwen3(fields: &Fields) -> Result<Architecture> {
    let mut architecture = read_decoder(fields, &Defaults { head_dim: Some(128), ..QWEN2 })?;
    if fields.boolean("attention_bias")?.unwrap_or(false) {
        add_biases(&mut architecture, &[Group::Qkv, Group::Output]);
    }
    for layer in &mut architecture.layers {
        layer.attention.head_norm = Some(["self_attn.q_norm", "self_attn.k_norm"]);
    }
    read_windows(fields, &mut architecture)?;
    Ok(architecture)
}

/// Without `use_sliding_window` there is no window, whatever `sliding_window` says; with it the layers from
/// `max_window_layers` on have one, or those that `layer_types` names.
fn read_windows(fields: &Fields, architecture: &mut Architecture) -> Result<()> {
    let layer_types = read_layer_types(fields, architecture.layers.len())?;
    let is_off = fields.has("sliding_window") && fields.integer("sliding_window")?.is_none();
    if is_off || !fields.boolean("use_sliding_window")?.unwrap_or(false) {
        return Ok(());
    }
    let window = fields.positive_or("sliding_window", 4096)?;
    let first = fields.integer("max_window_layers")?.unwrap_or(28);
    set_windows(architecture, window, |number| match &layer_types {
        Some(is_sliding) => is_sliding[number],
        None => number as u64 >= first,
    });
    Ok(())
}
