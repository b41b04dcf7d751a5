//! SmolLM3 (`SmolLM3Config`): Llama with layers that do not know positions.

use serde_json::Value;

use super::Architecture;
use super::decoder::{Defaults, LLAMA, read_biases, read_decoder, read_layer_types, set_windows};
use super::fields::{FILE, Fields};
use crate::bail;
use crate::error::Result;

pub(super) fn smollm3(fields: &Fields) -> Result<Architecture> {
    let defaults = Defaults {
        kv_heads: Some(4),
        context: 32_768,
        tied: true,
        rope_theta: 2_000_000.0,
        eos: Some(128_001),
        pad: Some(128_004),
        vocab: Some(128_256),
        ..LLAMA
    };
    let mut architecture = read_decoder(fields, &defaults)?;
    read_biases(fields, &mut architecture)?;
    let has_rope = has_rope(fields, architecture.layers.len())?;
    for (layer, has_rope) in architecture.layers.iter_mut().zip(&has_rope) {
        layer.attention.rope = has_rope.then_some(0);
    }
    let layer_types = read_layer_types(fields, architecture.layers.len())?;
    // `use_sliding_window` only decides where nothing says which layers have the window.
    let uses_windows = layer_types.is_some() || fields.boolean("use_sliding_window")?.unwrap_or(false);
    if uses_windows && fields.integer("sliding_window")?.is_some() {
        let window = fields.positive_or("sliding_window", 0)?;
        set_windows(&mut architecture, window, |number| match &layer_types {
            Some(is_sliding) => is_sliding[number],
            None => !has_rope[number],
        });
    }
    Ok(architecture)
}

/// Whether each layer has RoPE. `no_rope_layers` says so with a 1, against its name, for as many layers at least as there
/// are.
fn has_rope(fields: &Fields, layers: usize) -> Result<Vec<bool>> {
    let flag = |value: &Value| value.as_u64().map(|flag| flag != 0);
    let Some(found) = fields.list("no_rope_layers", "a list of 0 and 1", flag)? else {
        let interval = fields.positive_or("no_rope_layer_interval", 4)?;
        return Ok((1..=layers).map(|number| number % interval != 0).collect());
    };
    if found.len() < layers {
        bail!(BadModel, "{FILE}: no_rope_layers has {} entries, but there are {layers} layers", found.len());
    }
    Ok(found[..layers].to_vec())
}
