//! Granite 3 (`GraniteConfig`): Llama with four multipliers.

use super::Architecture;
use super::decoder::{LLAMA, read_biases, read_decoder};
use super::fields::Fields;
use crate::error::Result;

pub(super) fn granite(fields: &Fields) -> Result<Architecture> {
    let mut architecture = read_decoder(fields, &LLAMA)?;
    read_biases(fields, &mut architecture)?;
    let multiplier = |name| Ok(fields.positive_float(name)?.unwrap_or(1.0));
    architecture.embedding_scale = multiplier("embedding_multiplier")?;
    architecture.logits_scale = 1.0 / multiplier("logits_scaling")?;
    let (attention, residual) = (multiplier("attention_multiplier")?, multiplier("residual_multiplier")?);
    for layer in &mut architecture.layers {
        // Where the field is absent the scores are not scaled at all.
        layer.attention.scale = attention;
        layer.residual_scale = residual;
    }
    Ok(architecture)
}
