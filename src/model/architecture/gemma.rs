//! Gemma 3 (`Gemma3TextConfig`, and the text part of `Gemma3Config`).

use serde_json::{Map, Value};

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
    eos: Some(1),
    pad: Some(0),
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
    let plain = without_ropes(fields);
    let mut architecture = read_decoder(&Fields { fields: &plain, ..*fields }, &GEMMA3)?;
    let context = architecture.context;
    architecture.ropes = vec![full_rope(fields, &architecture)?, local_rope(fields, &architecture)?];
    architecture.context = architecture.ropes[0].reach(context);
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
    for name in ["tie_word_embeddings", "eos_token_id", "dtype", "torch_dtype"] {
        match fields.get(name) {
            Some(value) => drop(merged.insert(name.to_owned(), value.clone())),
            // A null is false to Python, and an absent field is true.
            None if name == "tie_word_embeddings" && fields.has(name) => {
                merged.insert(name.to_owned(), false.into());
            }
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

/// The fields without those of RoPE, which are read apart.
fn without_ropes(fields: &Fields) -> Map<String, Value> {
    let mut plain = fields.fields.clone();
    for name in ["rope_parameters", "rope_scaling", "rope_theta"] {
        plain.remove(name);
    }
    plain
}

/// The parameters of one type of layer in `rope_parameters`. What is not given by type has no effect.
fn parameters_of(fields: &Fields, layer_type: &str) -> Result<Map<String, Value>> {
    let by_type = fields.object("rope_parameters")?;
    let found = by_type.and_then(|types| types.get(layer_type)?.as_object());
    Ok(found.cloned().unwrap_or_else(|| Map::from_iter([("rope_type".to_owned(), "default".into())])))
}

/// That of the layers which see everything: `rope_scaling` is for them, and adds to their parameters.
fn full_rope(fields: &Fields, architecture: &Architecture) -> Result<Rope> {
    let mut parameters = parameters_of(fields, "full_attention")?;
    if let Some(scaling) = fields.object("rope_scaling")? {
        parameters.extend(scaling.clone());
    }
    let theta = fields.positive_float("rope_theta")?.unwrap_or(THETA);
    rope(&parameters, theta, architecture)
}

/// Local layers have angles of their own.
fn local_rope(fields: &Fields, architecture: &Architecture) -> Result<Rope> {
    let theta = fields.positive_float("rope_local_base_freq")?.unwrap_or(LOCAL_THETA);
    rope(&parameters_of(fields, "sliding_attention")?, theta, architecture)
}

fn rope(parameters: &Map<String, Value>, theta: f32, architecture: &Architecture) -> Result<Rope> {
    let defaults = RopeDefaults {
        theta,
        head_dim: architecture.layers[0].attention.head_dim,
        context: architecture.context,
        original: None,
        kinds: &KINDS,
        is_partial: false,
    };
    let empty = Map::new();
    let nothing = Fields { fields: &empty, prefix: "" };
    Rope::from_parameters(&nothing, &Fields { fields: parameters, prefix: "rope_parameters." }, &defaults)
}
