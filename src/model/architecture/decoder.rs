//! What the configs of all families have in common: the pre-norm decoder of Llama (Touvron et al. 2023).

use serde_json::Value;

use super::fields::{FILE, Fields};
use super::rope::{KINDS, Rope, RopeDefaults};
use super::{Act, Architecture, Attention, ByGroup, Group, Layer, Module, Norms, View, Width};
use crate::bail;
use crate::error::Result;

/// No model has more; what follows from a config must stay small until weights are there.
const MOST_LAYERS: usize = 1024;
const MOST_POSITIONS: usize = 1 << 24;

/// What a family's class in transformers takes where `config.json` says nothing. A size that is `None` must be
/// there.
pub(super) struct Defaults<'a> {
    pub(super) hidden: Option<usize>,
    pub(super) ffn: Option<usize>,
    pub(super) layers: Option<usize>,
    pub(super) q_heads: Option<usize>,
    pub(super) vocab: Option<usize>,
    /// `None`: as many as there are query heads.
    pub(super) kv_heads: Option<usize>,
    /// `None`: `hidden_size` divided among the query heads.
    pub(super) head_dim: Option<usize>,
    /// `max_position_embeddings`.
    pub(super) context: usize,
    pub(super) eps: f32,
    pub(super) tied: bool,
    /// `eos_token_id`.
    pub(super) eos: Option<u32>,
    /// `pad_token_id`.
    pub(super) pad: Option<u32>,
    pub(super) rope_theta: f32,
    pub(super) rope_kinds: &'a [(&'a str, &'a str)],
    /// See [`RopeDefaults::original`].
    pub(super) original: Option<usize>,
    /// Whether `partial_rotary_factor` has an effect.
    pub(super) is_partial: bool,
    /// The field with the activation, and the activation.
    pub(super) act: (&'static str, Act),
}

/// Those of `LlamaConfig`.
pub(super) const LLAMA: Defaults<'_> = Defaults {
    hidden: None,
    ffn: None,
    layers: None,
    q_heads: None,
    vocab: None,
    kv_heads: None,
    head_dim: None,
    context: 2048,
    eps: 1e-6,
    tied: false,
    eos: Some(2),
    pad: None,
    rope_theta: 10_000.0,
    rope_kinds: &KINDS,
    original: None,
    is_partial: false,
    act: ("hidden_act", Act::Silu),
};

/// Reads a decoder whose layers are all alike. A family changes afterwards what it has otherwise.
pub(super) fn read_decoder(fields: &Fields, defaults: &Defaults) -> Result<Architecture> {
    let hidden = fields.size("hidden_size", defaults.hidden)?;
    let q_heads = fields.size("num_attention_heads", defaults.q_heads)?;
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
    let head_dim = head_dim(fields, defaults, hidden, q_heads)?;
    let context = fields.positive_or("max_position_embeddings", defaults.context)?;
    let rope = RopeDefaults {
        theta: defaults.rope_theta,
        head_dim,
        context,
        original: defaults.original,
        kinds: defaults.rope_kinds,
        is_partial: defaults.is_partial,
    };
    let rope = Rope::read(fields, &rope)?;
    let ffn = fields.size("intermediate_size", defaults.ffn)?;
    refuse_act(fields, defaults.act)?;
    let layers = fields.size("num_hidden_layers", defaults.layers)?;
    if layers > MOST_LAYERS || context > MOST_POSITIONS {
        bail!(
            UnsupportedModel,
            "{FILE}: num_hidden_layers {layers} and max_position_embeddings {context} are not at most {MOST_LAYERS} \
             and {MOST_POSITIONS}"
        );
    }
    let layer = Layer {
        norms: Norms {
            before_attention: "input_layernorm",
            after_attention: None,
            before_feed_forward: "post_attention_layernorm",
            after_feed_forward: None,
        },
        attention: Attention {
            q_heads,
            kv_heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            head_norm: None,
            rope: Some(0),
            view: 0,
        },
        ffn: Width::new(ffn),
        act: defaults.act.1,
        groups: separate(hidden, ffn, [q_heads * head_dim, kv_heads * head_dim]),
        residual_scale: 1.0,
    };
    Ok(Architecture {
        model_type: fields.required("model_type", fields.string("model_type")?)?,
        hidden: Width::new(hidden),
        vocab: Width::new(fields.size("vocab_size", defaults.vocab)?),
        context: rope.reach(context),
        eps: fields.positive_float("rms_norm_eps")?.unwrap_or(defaults.eps),
        norms_add_one: false,
        tied: fields.boolean("tie_word_embeddings")?.unwrap_or(defaults.tied),
        embedding_scale: 1.0,
        logits_scale: 1.0,
        ropes: vec![rope],
        views: vec![View::All],
        layers: vec![layer; layers],
        adapter_path: "model.layers",
        padding_id: padding_id(fields, defaults.pad)?,
        eos_token_ids: fields.token_ids("eos_token_id", defaults.eos)?,
        dtype: fields.string("dtype")?.or(fields.string("torch_dtype")?),
        dropouts: Vec::from_iter(fields.dropout("attention_dropout")?),
    })
}

/// `pad_token_id`; one that is negative counts from the end of the vocabulary, as torch has it.
fn padding_id(fields: &Fields, default: Option<u32>) -> Result<Option<u32>> {
    if !fields.has("pad_token_id") {
        return Ok(default);
    }
    let vocab = fields.integer("vocab_size")?.unwrap_or_default() as i64;
    let id = fields.typed("pad_token_id", "a token id", Value::as_i64)?;
    Ok(id.and_then(|id| u32::try_from(if id < 0 { id + vocab } else { id }).ok()))
}

fn head_dim(fields: &Fields, defaults: &Defaults, hidden: usize, q_heads: usize) -> Result<usize> {
    let default = match defaults.head_dim {
        Some(head_dim) if !fields.has("head_dim") => head_dim,
        _ => {
            if fields.integer("head_dim")?.is_none() && !hidden.is_multiple_of(q_heads) {
                bail!(
                    UnsupportedModel,
                    "{FILE}: hidden_size {hidden} is no multiple of num_attention_heads {q_heads}, and there is no \
                     head_dim"
                );
            }
            (hidden / q_heads).max(1)
        }
    };
    let head_dim = fields.size_or("head_dim", default)?;
    if head_dim % 4 != 0 || head_dim > 256 {
        bail!(UnsupportedModel, "{FILE}: head_dim {head_dim} is not a multiple of 4 up to 256");
    }
    Ok(head_dim)
}

fn refuse_act(fields: &Fields, (field, wanted): (&str, Act)) -> Result<()> {
    let names: &[&str] = match wanted {
        Act::Silu => &["silu", "swish"],
        Act::GeluTanh => &["gelu_pytorch_tanh"],
    };
    if let Some(act) = fields.string(field)?
        && !names.contains(&act.as_str())
    {
        bail!(UnsupportedModel, "{FILE}: {field} {act:?} is not supported, only {:?} is", names[0]);
    }
    Ok(())
}

fn module(path: &'static str, inputs: usize, outputs: usize) -> Module {
    Module { path, inputs: Width::new(inputs), outputs: Width::new(outputs), has_bias: false }
}

/// The modules of a layer whose projections are all modules of their own.
fn separate(hidden: usize, ffn: usize, [queries, keys]: [usize; 2]) -> ByGroup<Vec<Module>> {
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

/// The modules of a layer that has queries, keys and values in one module, and gate and up in another.
pub(super) fn fused(layer: &Layer) -> ByGroup<Vec<Module>> {
    let [qkv, output, gate_up, down] = &layer.groups.0;
    let sum = |modules: &[Module]| modules.iter().map(|module| module.outputs.real).sum();
    ByGroup([
        vec![module("self_attn.qkv_proj", qkv[0].inputs.real, sum(qkv))],
        output.clone(),
        vec![module("mlp.gate_up_proj", gate_up[0].inputs.real, sum(gate_up))],
        down.clone(),
    ])
}

/// Gives all modules of some groups a bias.
pub(super) fn add_biases(architecture: &mut Architecture, groups: &[Group]) {
    for layer in &mut architecture.layers {
        for &group in groups {
            layer.groups[group].iter_mut().for_each(|module| module.has_bias = true);
        }
    }
}

/// `attention_bias` and `mlp_bias` of the classes that have both.
pub(super) fn read_biases(fields: &Fields, architecture: &mut Architecture) -> Result<()> {
    if fields.boolean("attention_bias")?.unwrap_or(false) {
        add_biases(architecture, &[Group::Qkv, Group::Output]);
    }
    if fields.boolean("mlp_bias")?.unwrap_or(false) {
        add_biases(architecture, &[Group::GateUp, Group::Down]);
    }
    Ok(())
}

/// Refuses the first of the fields that is true.
pub(super) fn refuse_true(fields: &Fields, names: &[&str]) -> Result<()> {
    for name in names {
        if fields.boolean(name)? == Some(true) {
            bail!(UnsupportedModel, "{FILE}: {name} true is not supported");
        }
    }
    Ok(())
}

/// `layer_types`: whether each layer has the sliding window, where the field is there.
pub(super) fn read_layer_types(fields: &Fields, layers: usize) -> Result<Option<Vec<bool>>> {
    let is_sliding = |value: &Value| match value.as_str()? {
        // The second is an older name of the first.
        "full_attention" | "attention" => Some(false),
        "sliding_attention" => Some(true),
        _ => None,
    };
    let wanted = "a list of \"full_attention\" and \"sliding_attention\"";
    let found = fields.list("layer_types", wanted, is_sliding)?;
    if let Some(found) = &found
        && found.len() != layers
    {
        bail!(BadModel, "{FILE}: layer_types has {} entries, but there are {layers} layers", found.len());
    }
    Ok(found)
}

/// Gives some layers a window; the others see everything.
pub(super) fn set_windows(
    architecture: &mut Architecture,
    window: usize,
    is_windowed: impl Fn(usize) -> bool,
) {
    architecture.views = vec![View::All, View::Window(window)];
    for (number, layer) in architecture.layers.iter_mut().enumerate() {
        layer.attention.view = usize::from(is_windowed(number));
    }
}
