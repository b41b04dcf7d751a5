//! Gemma 3 (`Gemma3TextConfig`, and the text part of `Gemma3Config`).

use serde_json::Map;

use super::decoder::{Defaults, LLAMA, add_biases, read_decoder, read_layer_types, refuse_true, set_windows};
use super::fields::{FILE, Fields};
use super::rope::{KINDS, Rope, RopeDefaults};
use super::{Act, Architecture, Group, Norms};
use crate::bail;
use crate::error::Result;

const THETA: f32 = 1_000_000.0;
const LOCAL_THETA: f32 = 10_000.0;

/// The smallest configs of the hub leave nearly everything to the class.
const GEMMA3: Defaults<'_> = Defaults {
    hidden: Some(2304),
    ffn: Some(9216),
    layers: Some(26),
    q_heads: Some(8),
    vocab: Some(262_208),
    kv_heads: Some(4),
    head_dim: Some(256),
    context: 131_072,
    tied: true,
    rope_theta: THETA,
    act: ("hidden_activation", Act::GeluTanh),
    ..LLAMA
};

/// A model of text alone.
pub(super) fn gemma3_text(fields: &Fields) -> Result<Architecture> {
    refuse_true(fields, &["use_bidirectional_attention"])?;
    if let Some(cap) = fields.positive_float("final_logit_softcapping")? {
        bail!(UnsupportedModel, "{FILE}: final_logit_softcapping {cap} is not supported, only null is");
    }
    let full = with_rope_of(fields, "full_attention")?;
    let mut architecture = read_decoder(&Fields { fields: &full, ..*fields }, &GEMMA3)?;
    architecture.norms_add_one = true;
    architecture.embedding_scale = (architecture.hidden.real as f32).sqrt();
    if fields.boolean("attention_bias")?.unwrap_or(false) {
        add_biases(&mut architecture, &[Group::Qkv, Group::Output]);
    }
    let scalar = fields.positive_float("query_pre_attn_scalar")?.unwrap_or(256.0);
    let layers = architecture.layers.len();
    let is_local = match read_layer_types(fields, layers)? {
        Some(is_sliding) => is_sliding,
        None => {
            let pattern = fields.positive_or("sliding_window_pattern", 6)?;
            (1..=layers).map(|number| number % pattern != 0).collect()
        }
    };
    architecture.ropes.push(local_rope(fields, &architecture)?);
    set_windows(&mut architecture, fields.positive_or("sliding_window", 4096)?, |number| is_local[number]);
    for (layer, &is_local) in architecture.layers.iter_mut().zip(&is_local) {
        layer.norms = Norms {
            before_attention: "input_layernorm",
            after_attention: Some("post_attention_layernorm"),
            before_feed_forward: "pre_feedforward_layernorm",
            after_feed_forward: Some("post_feedforward_layernorm"),
        };
        layer.attention.scale = 1.0 / scalar.sqrt();
        layer.attention.head_norm = Some(["self_attn.q_norm", "self_attn.k_norm"]);
        layer.attention.rope = Some(usize::from(is_local));
    }
    Ok(architecture)
}

/// The text part of a model that sees pictures too.
pub(super) fn gemma3(fields: &Fields) -> Result<Architecture> {
    let Some(text) = fields.object("text_config")? else {
        return Err(fields.missing("text_config"));
    };
    let mut merged = text.clone();
    merged.insert("model_type".to_owned(), "gemma3".into());
    // What stands outside is for the whole model and wins there.
    for name in ["tie_word_embeddings", "bos_token_id", "eos_token_id", "dtype", "torch_dtype"] {
        match fields.get(name) {
            Some(value) => drop(merged.insert(name.to_owned(), value.clone())),
            None if name == "tie_word_embeddings" => drop(merged.remove(name)),
            None => {}
        }
    }
    // The class of the whole model does not cap its logits.
    merged.remove("final_logit_softcapping");
    let mut architecture = gemma3_text(&Fields { fields: &merged, prefix: "text_config." })?;
    architecture.adapter_path = "model.language_model.layers";
    Ok(architecture)
}

/// The fields with the `rope_parameters` of one type of layer, where they are given by type.
fn with_rope_of(fields: &Fields, layer_type: &str) -> Result<Map<String, serde_json::Value>> {
    let mut changed = fields.fields.clone();
    if let Some(of_type) = fields.object("rope_parameters")?.and_then(|types| types.get(layer_type)) {
        changed.insert("rope_parameters".to_owned(), of_type.clone());
    }
    Ok(changed)
}

/// Local layers have angles of their own, which the scaling of the others leaves alone.
fn local_rope(fields: &Fields, architecture: &Architecture) -> Result<Rope> {
    let defaults = RopeDefaults {
        theta: fields.positive_float("rope_local_base_freq")?.unwrap_or(LOCAL_THETA),
        head_dim: architecture.layers[0].attention.head_dim,
        context: architecture.context,
        kinds: &KINDS,
        is_partial: false,
    };
    let empty = Map::new();
    let by_type = fields.object("rope_parameters")?;
    let parameters = match by_type.and_then(|types| types.get("sliding_attention")?.as_object()) {
        Some(object) => object,
        None => &empty,
    };
    let nothing = Fields { fields: &empty, prefix: "" };
    let prefix = "rope_parameters.sliding_attention.";
    Rope::from_parameters(&nothing, &Fields { fields: parameters, prefix }, &defaults)
}
