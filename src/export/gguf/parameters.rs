//! What a GGUF says of a model's sizes, positions and scales, by the keys of llama.cpp's converter.

use super::header::Metadata;
use crate::bail;
use crate::error::Result;
use crate::format::gguf::Names;
use crate::model::{Architecture, Rope, RopeScaling, View};

/// Of Gemma 3, where nothing is said: every sixth layer sees all.
const GEMMA_PATTERN: usize = 6;
/// Every fourth layer of SmolLM3 knows no positions.
const SMOLLM3_INTERVAL: usize = 4;

/// # Errors
///
/// Code `unsupported-model` for what llama.cpp would compute otherwise.
pub(super) fn write(architecture: &Architecture, names: &Names, metadata: &mut Metadata) -> Result<()> {
    let prefix = names.architecture;
    let key = |name: &str| format!("{prefix}.{name}");
    let layer = &architecture.layers[0];
    let attention = &layer.attention;
    for (name, value) in [
        ("vocab_size", architecture.vocab.real),
        ("context_length", architecture.context),
        ("embedding_length", architecture.hidden.real),
        ("block_count", architecture.layers.len()),
        ("feed_forward_length", layer.ffn.real),
        ("attention.head_count", attention.q_heads),
        ("attention.head_count_kv", attention.kv_heads),
        ("attention.key_length", attention.head_dim),
        ("attention.value_length", attention.head_dim),
    ] {
        metadata.u32(&key(name), value);
    }
    metadata.f32(&key("attention.layer_norm_rms_epsilon"), architecture.eps);
    match prefix {
        "granite" => {
            metadata.f32(&key("attention.scale"), attention.scale);
            metadata.f32(&key("embedding_scale"), architecture.embedding_scale);
            metadata.f32(&key("residual_scale"), layer.residual_scale);
            metadata.f32(&key("logit_scale"), 1.0 / architecture.logits_scale);
        }
        "gemma3" => gemma(architecture, metadata)?,
        "phi3" => {
            let window = architecture.views.iter().find_map(|view| match view {
                View::Window(window) => Some(*window),
                View::All => None,
            });
            // llama.cpp's converter writes 0 where there is none, and its loader looks for the key.
            metadata.u32(&key("attention.sliding_window"), window.unwrap_or(0));
        }
        "smollm3" => {
            let has_rope = |number: usize| !(number + 1).is_multiple_of(SMOLLM3_INTERVAL);
            let layers = architecture.layers.iter().enumerate();
            if let Some((number, _)) =
                layers.into_iter().find(|(number, layer)| layer.attention.rope.is_some() != has_rope(*number))
            {
                bail!(
                    UnsupportedModel,
                    "llama.cpp leaves positions out in every fourth layer of SmolLM3; layer {number} differs from \
                     that. Take format safetensors"
                );
            }
        }
        _ => {}
    }
    if let Some(first) = architecture.ropes.first() {
        rope(first, prefix, metadata)?;
    }
    Ok(())
}

/// Windows that all layers but some have, and their RoPE.
fn gemma(architecture: &Architecture, metadata: &mut Metadata) -> Result<()> {
    let view = |layer: &crate::model::Layer| architecture.views[layer.attention.view];
    let is_full = |layer: &crate::model::Layer| view(layer) == View::All;
    let pattern =
        architecture.layers.iter().position(is_full).map_or(architecture.layers.len() + 1, |first| first + 1);
    let layers = architecture.layers.iter().enumerate();
    if let Some((number, _)) =
        layers.into_iter().find(|(number, layer)| is_full(layer) != (number + 1).is_multiple_of(pattern))
    {
        bail!(
            UnsupportedModel,
            "llama.cpp wants the layers of Gemma 3 without a window at equal distances; layer {number} is not. Take \
             format safetensors"
        );
    }
    if let Some(View::Window(window)) = architecture.layers.iter().map(view).find(|view| *view != View::All) {
        metadata.u32("gemma3.attention.sliding_window", window);
    }
    if pattern != GEMMA_PATTERN {
        metadata.u32("gemma3.attention.sliding_window_pattern", pattern);
    }
    if let Some(local) = architecture.ropes.get(1) {
        metadata.f32("gemma3.rope.freq_base_swa", local.theta);
    }
    Ok(())
}

fn rope(rope: &Rope, prefix: &str, metadata: &mut Metadata) -> Result<()> {
    let key = |name: &str| format!("{prefix}.rope.{name}");
    if rope.dim != rope.rotary_dim {
        bail!(UnsupportedModel, "llama.cpp wants RoPE on an even number of values, not {}", rope.dim);
    }
    metadata.u32(&key("dimension_count"), rope.rotary_dim);
    metadata.f32(&key("freq_base"), rope.theta);
    match &rope.scaling {
        // The latter is a tensor.
        RopeScaling::Default | RopeScaling::Llama3 { .. } => {}
        RopeScaling::Linear { factor } => {
            metadata.string(&key("scaling.type"), "linear");
            metadata.f32(&key("scaling.factor"), *factor);
        }
        RopeScaling::Dynamic { .. } => {
            bail!(UnsupportedModel, "llama.cpp has no rope_type \"dynamic\"; take format safetensors");
        }
        &RopeScaling::Yarn {
            factor,
            beta_fast,
            beta_slow,
            truncate,
            original_max_position_embeddings,
            attention_factor,
        } => {
            if !truncate {
                bail!(UnsupportedModel, "llama.cpp has no yarn with truncate false; take format safetensors");
            }
            metadata.string(&key("scaling.type"), "yarn");
            metadata.f32(&key("scaling.factor"), factor);
            metadata.u32(&key("scaling.original_context_length"), original_max_position_embeddings);
            metadata.f32(&key("scaling.yarn_beta_fast"), beta_fast);
            metadata.f32(&key("scaling.yarn_beta_slow"), beta_slow);
            // llama.cpp multiplies this with what it takes for a factor.
            let usual = 0.1 * factor.ln() + 1.0;
            metadata.f32(&key("scaling.yarn_attn_factor"), attention_factor / usual);
        }
        RopeScaling::LongRope { original_max_position_embeddings, attention_factor, .. } => {
            metadata.string(&key("scaling.type"), "longrope");
            metadata.u32(&key("scaling.original_context_length"), *original_max_position_embeddings);
            metadata.f32(&key("scaling.attn_factor"), *attention_factor);
        }
    }
    Ok(())
}
