//! Phi-3 and Phi-4-mini (`Phi3Config`): fused projections, heads that turn in part.

use super::decoder::{Defaults, LLAMA, fused, read_decoder};
use super::fields::Fields;
use super::{Architecture, View};
use crate::error::Result;

/// Both older names of longrope mean it.
const KINDS: [(&str, &str); 4] =
    [("default", "default"), ("longrope", "longrope"), ("su", "longrope"), ("yarn", "longrope")];

pub(super) fn phi3(fields: &Fields) -> Result<Architecture> {
    let defaults = Defaults {
        context: 4096,
        eps: 1e-5,
        eos: Some(32_000),
        pad: Some(32_000),
        rope_kinds: &KINDS,
        original: Some(fields.positive_or("original_max_position_embeddings", 4096)?),
        is_partial: true,
        ..LLAMA
    };
    let mut architecture = read_decoder(fields, &defaults)?;
    if fields.integer("sliding_window")?.is_some() {
        architecture.views = vec![View::Window(fields.positive_or("sliding_window", 0)?)];
    }
    // The class has `embd_pdrop` too and does not use it.
    architecture.dropouts.extend(fields.dropout("resid_pdrop")?);
    for layer in &mut architecture.layers {
        layer.groups = fused(layer);
    }
    Ok(architecture)
}
