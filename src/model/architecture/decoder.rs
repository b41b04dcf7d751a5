//! What the configs of all families have in common: the pre-norm decoder of Llama (Touvron et al. 2023).

use super::fields::{FILE, Fields};
use super::rope::Rope;
use super::{Architecture, Attention, ByGroup, Layer, Module, Norms, View, Width};
use crate::bail;
use crate::error::Result;

/// What a family's class in transformers takes where `config.json` says nothing.
pub(super) struct Defaults {
    /// `None`: as many as there are query heads.
    pub(super) kv_heads: Option<usize>,
    /// `max_position_embeddings`.
    pub(super) context: usize,
}

/// Reads a decoder whose layers are all alike. A family changes afterwards what it has otherwise.
pub(super) fn read_decoder(fields: &Fields, defaults: Defaults) -> Result<Architecture> {
    let hidden = fields.size("hidden_size")?;
    let q_heads = fields.size("num_attention_heads")?;
    // A null is transformers' word for as many as there are query heads, whatever the default.
    let kv_heads = match defaults.kv_heads {
        Some(default) if !fields.has("num_key_value_heads") => default,
        _ => q_heads,
    };
    let kv_heads = fields.size_or("num_key_value_heads", kv_heads)?;
    if q_heads % kv_heads != 0 {
        bail!(
            UnsupportedModel,
            "{FILE}: num_attention_heads {q_heads} is no multiple of num_key_value_heads {kv_heads}"
        );
    }
    if fields.integer("head_dim")?.is_none() && hidden % q_heads != 0 {
        bail!(
            UnsupportedModel,
            "{FILE}: hidden_size {hidden} is no multiple of num_attention_heads {q_heads}, and there is no head_dim"
        );
    }
    let head_dim = fields.size_or("head_dim", (hidden / q_heads).max(1))?;
    if head_dim % 4 != 0 || head_dim > 256 {
        bail!(UnsupportedModel, "{FILE}: head_dim {head_dim} is not a multiple of 4 up to 256");
    }
    let context = fields.positive_or("max_position_embeddings", defaults.context)?;
    let ffn = fields.size("intermediate_size")?;
    let layer = Layer {
        norms: Norms { before_attention: "input_layernorm", before_feed_forward: "post_attention_layernorm" },
        attention: Attention {
            q_heads,
            kv_heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            rope: 0,
            view: 0,
        },
        ffn: Width::new(ffn),
        groups: separate(hidden, ffn, [q_heads * head_dim, kv_heads * head_dim]),
    };
    Ok(Architecture {
        model_type: fields.required("model_type", fields.string("model_type")?)?,
        hidden: Width::new(hidden),
        vocab: Width::new(fields.size("vocab_size")?),
        context,
        eps: fields.positive_float("rms_norm_eps")?.unwrap_or(1e-6),
        tied: fields.boolean("tie_word_embeddings")?.unwrap_or(false),
        ropes: vec![Rope::read(fields, context, head_dim)?],
        views: vec![View::All],
        layers: vec![layer; fields.size("num_hidden_layers")?],
        bos_token_id: fields.token_ids("bos_token_id", 1)?.first().copied(),
        eos_token_ids: fields.token_ids("eos_token_id", 2)?,
        dtype: fields.string("dtype")?.or(fields.string("torch_dtype")?),
    })
}

/// The modules of a layer whose projections are all modules of their own.
fn separate(hidden: usize, ffn: usize, [queries, keys]: [usize; 2]) -> ByGroup<Vec<Module>> {
    let module =
        |path, inputs, outputs| Module { path, inputs: Width::new(inputs), outputs: Width::new(outputs) };
    ByGroup([
        vec![
            module("self_attn.q_proj", hidden, queries),
            module("self_attn.k_proj", hidden, keys),
            module("self_attn.v_proj", hidden, keys),
        ],
        vec![module("self_attn.o_proj", queries, hidden)],
        vec![module("mlp.gate_proj", hidden, ffn), module("mlp.up_proj", hidden, ffn)],
        vec![module("mlp.down_proj", ffn, hidden)],
    ])
}
