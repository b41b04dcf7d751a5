//! The `config.json` that transformers would have for a GGUF. What the file does not say has the value that llama.cpp
//! takes (`load_hparams` of its models).

use serde_json::{Map, Value as Json, json};

use super::names::Names;
use super::ropes::{is_rope_tensor, scaling_of};
use super::value::{Metadata, Value};
use super::{GgmlType, Gguf};
use crate::bail;
use crate::error::{Code, Error, Result};

const EMBEDDING: &str = "token_embd.weight";
const HEAD: &str = "output.weight";
const DEFAULT_THETA: f32 = 10_000.0;
/// No model has more.
const MOST_LAYERS: u64 = 1024;

/// The fields of an architecture by the keys that begin with its name.
struct Keys<'a> {
    gguf: &'a Gguf,
    names: &'static Names,
}

/// What several fields follow from.
struct Sizes {
    layers: u64,
    hidden: u64,
    q_heads: u64,
    head_dim: u64,
    context: u64,
}

/// The fields of `config.json`.
pub(super) fn config(gguf: &Gguf, names: &'static Names) -> Result<Json> {
    let keys = Keys { gguf, names };
    keys.refuse_others()?;
    let sizes = keys.sizes()?;
    let (Some(embedding), metadata) = (gguf.tensor(EMBEDDING), &gguf.metadata) else {
        bail!(BadModel, "{}: tensor {EMBEDDING} is missing", gguf.metadata.file());
    };
    let eps = keys.required_float("attention.layer_norm_rms_epsilon")?;
    let mut fields = Map::new();
    let mut set = |name: &str, value: Json| drop(fields.insert(name.to_owned(), value));
    set("model_type", names.model_types[0].into());
    set("vocab_size", embedding.shape[0].into());
    set("hidden_size", sizes.hidden.into());
    set("intermediate_size", keys.required_integer("feed_forward_length")?.into());
    set("num_hidden_layers", sizes.layers.into());
    set("num_attention_heads", sizes.q_heads.into());
    set("num_key_value_heads", keys.integer("attention.head_count_kv")?.unwrap_or(sizes.q_heads).into());
    set("head_dim", sizes.head_dim.into());
    set("max_position_embeddings", sizes.context.into());
    set("rms_norm_eps", number(eps));
    set("tie_word_embeddings", gguf.tensor(HEAD).is_none().into());
    set("dtype", dtype(embedding.kind).into());
    set("rope_theta", number(keys.positive("rope.freq_base")?.unwrap_or(DEFAULT_THETA)));
    set("rope_scaling", keys.scaling(&sizes)?);
    let ids = end_ids(metadata)?;
    set("eos_token_id", if ids.len() == 1 { ids[0].into() } else { ids.into() });
    set("bos_token_id", metadata.integer("tokenizer.ggml.bos_token_id")?.into());
    // Where the file says none it is that of the model's class, as in transformers.
    if let Some(id) = metadata.integer("tokenizer.ggml.padding_token_id")? {
        set("pad_token_id", id.into());
    }
    fields.extend(keys.biases(sizes.layers)?);
    fields.extend(keys.own(&sizes)?);
    Ok(fields.into())
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.names.architecture)
    }

    fn metadata(&self) -> &Metadata {
        &self.gguf.metadata
    }

    /// An integer, or an array of the same integer for each layer.
    fn integer(&self, name: &str) -> Result<Option<u64>> {
        let key = self.key(name);
        let Some(Value::Numbers(_)) = self.metadata().get(&key) else { return self.metadata().integer(&key) };
        let values = self.metadata().integers(&key)?.unwrap_or_default();
        match values.first() {
            Some(&first) if first >= 0 && values.iter().all(|value| *value == first) => {
                Ok(Some(first as u64))
            }
            _ => bail!(
                UnsupportedModel,
                "{}: {key} differs from layer to layer, which is not supported",
                self.metadata().file()
            ),
        }
    }

    fn required_integer(&self, name: &str) -> Result<u64> {
        match self.metadata().required(&self.key(name), self.integer(name)?)? {
            0 => Err(self.metadata().bad(&self.key(name), "is 0")),
            value => Ok(value),
        }
    }

    fn float(&self, name: &str) -> Result<Option<f32>> {
        self.metadata().float(&self.key(name))
    }

    fn required_float(&self, name: &str) -> Result<f32> {
        self.metadata().required(&self.key(name), self.positive(name)?)
    }

    fn positive(&self, name: &str) -> Result<Option<f32>> {
        match self.float(name)? {
            Some(value) if value <= 0.0 => {
                Err(self.metadata().bad(&self.key(name), format_args!("is {value}, not positive")))
            }
            value => Ok(value),
        }
    }

    fn unsupported(&self, name: &str, what: &str) -> Error {
        let message = format!("{}: {} {what}", self.metadata().file(), self.key(name));
        Error::new(Code::UnsupportedModel, message)
    }

    /// Refuses tensors that the architecture as it is done here has not, and settings of which transformers knows nothing.
    fn refuse_others(&self) -> Result<()> {
        for tensor in &self.gguf.tensors {
            if !is_rope_tensor(&tensor.name) && self.names.to_hf(&tensor.name).is_none() {
                bail!(
                    UnsupportedModel,
                    "{}: tensor {} is none that a model of architecture {:?} has here",
                    tensor.file,
                    tensor.name,
                    self.names.architecture
                );
            }
        }
        if self.integer("expert_count")?.is_some_and(|count| count > 0) {
            return Err(self.unsupported("expert_count", "is not 0; mixtures of experts are not supported"));
        }
        if self.metadata().boolean(&self.key("attention.causal"))? == Some(false) {
            return Err(self.unsupported("attention.causal", "is false, which is not supported"));
        }
        if self.names.architecture == "granite"
            && self.metadata().boolean(&self.key("rope.scaling.finetuned"))? == Some(false)
        {
            return Err(self.unsupported("rope.scaling.finetuned", "is false: no layer knows positions"));
        }
        Ok(())
    }

    fn sizes(&self) -> Result<Sizes> {
        let layers = self.required_integer("block_count")?;
        if layers > MOST_LAYERS {
            return Err(self.unsupported("block_count", &format!("{layers} is more than {MOST_LAYERS}")));
        }
        let tensors = self.gguf.tensors.len();
        if layers > tensors as u64 {
            let what = format!("is {layers}, but the file holds {tensors} tensors");
            return Err(self.metadata().bad(&self.key("block_count"), what));
        }
        let (hidden, q_heads) =
            (self.required_integer("embedding_length")?, self.required_integer("attention.head_count")?);
        let head_dim = match self.integer("attention.key_length")? {
            Some(head_dim) => head_dim,
            None => hidden / q_heads,
        };
        if let Some(values) = self.integer("attention.value_length")?
            && values != head_dim
        {
            return Err(
                self.unsupported("attention.value_length", "differs from the keys', which is not supported")
            );
        }
        if head_dim == 0 {
            return Err(self.metadata().bad(&self.key("embedding_length"), "is less than there are heads"));
        }
        let context = self.required_integer("context_length")?;
        Ok(Sizes { layers, hidden, q_heads, head_dim, context })
    }

    /// `rope_scaling`, or null.
    fn scaling(&self, sizes: &Sizes) -> Result<Json> {
        let factors = &self.gguf.ropes;
        let turned = self.integer("rope.dimension_count")?.unwrap_or(sizes.head_dim);
        let is_phi = self.names.architecture == "phi3";
        if turned == 0 || turned > sizes.head_dim || turned != sizes.head_dim && !is_phi {
            return Err(self.unsupported("rope.dimension_count", &format!("{turned} is not supported")));
        }
        let name = "rope.scaling.type";
        // llama.cpp takes a factor without a type as linear.
        let kind = self.metadata().string(&self.key(name))?.unwrap_or("linear");
        let factor = match self.float("rope.scaling.factor")? {
            Some(factor) => factor,
            None => self.float("rope.scale_linear")?.unwrap_or(0.0),
        };
        if let (Some(short), Some(long)) = (&factors.short, &factors.long) {
            if !is_phi {
                return Err(self.unsupported(name, "is longrope, which is not supported for it"));
            }
            let original = self.integer("rope.scaling.original_context_length")?.unwrap_or(sizes.context);
            return Ok(json!({
                "rope_type": "longrope",
                "short_factor": numbers(short),
                "long_factor": numbers(long),
                "original_max_position_embeddings": original,
                "attention_factor": number(self.positive("rope.scaling.attn_factor")?.unwrap_or(1.0)),
            }));
        }
        if let Some(all) = &factors.all {
            if all.len() as u64 * 2 != turned {
                let tensor = self.gguf.tensor("rope_freqs.weight").expect("its values were read");
                return Err(tensor.bad(format_args!("it has {} values for heads of {turned}", all.len())));
            }
            if all.iter().any(|factor| *factor != 1.0) {
                if factor != 0.0 && factor != 1.0 {
                    return Err(self.unsupported("rope.scaling.factor", "is there with rope_freqs.weight"));
                }
                let theta = self.positive("rope.freq_base")?.unwrap_or(DEFAULT_THETA);
                return Ok(scaling_of(all, theta, sizes.context));
            }
        }
        match kind {
            "none" => Ok(Json::Null),
            "linear" if factor == 0.0 || factor == 1.0 => Ok(Json::Null),
            "linear" => Ok(json!({"rope_type": "linear", "factor": number(factor)})),
            "yarn" => self.yarn(factor, sizes),
            // The factors would be there.
            "longrope" if is_phi => Ok(Json::Null),
            kind => Err(self.unsupported(name, &format!("{kind:?} is not supported"))),
        }
    }

    fn yarn(&self, factor: f32, sizes: &Sizes) -> Result<Json> {
        // llama.cpp and transformers would do different things with these.
        for (name, plain) in
            [("yarn_ext_factor", 1.0), ("yarn_attn_factor", 1.0), ("yarn_log_multiplier", 0.0)]
        {
            let name = format!("rope.scaling.{name}");
            if let Some(value) = self.float(&name)?
                && value != plain
            {
                return Err(
                    self.unsupported(&name, &format!("is {value}, which is not supported, only {plain} is"))
                );
            }
        }
        let original = self.integer("rope.scaling.original_context_length")?.unwrap_or(sizes.context);
        let factor = if factor == 0.0 { 1.0 } else { factor };
        let mut yarn = json!({
            "rope_type": "yarn",
            "factor": number(factor),
            "original_max_position_embeddings": original,
        });
        for name in ["beta_fast", "beta_slow"] {
            if let Some(beta) = self.positive(&format!("rope.scaling.yarn_{name}"))? {
                yarn[name] = number(beta);
            }
        }
        Ok(yarn)
    }

    /// Which projections have biases, as the tensors show.
    fn biases(&self, layers: u64) -> Result<Map<String, Json>> {
        let mut fields = Map::new();
        let groups: &[(&str, &[&str])] = match self.names.architecture {
            // Its class always has them.
            "qwen2" | "phi3" => &[],
            "qwen3" | "gemma3" => &[("attention_bias", &["attn_q", "attn_k", "attn_v", "attn_output"])],
            _ => &[
                ("attention_bias", &["attn_q", "attn_k", "attn_v", "attn_output"]),
                ("mlp_bias", &["ffn_gate", "ffn_up", "ffn_down"]),
            ],
        };
        for (field, paths) in groups {
            let is_one = |name: &str| {
                let path =
                    name.strip_suffix(".bias").and_then(|name| name.strip_prefix("blk.")?.split_once('.'));
                path.is_some_and(|(_, path)| paths.contains(&path))
            };
            let there = self.gguf.tensors.iter().filter(|tensor| is_one(&tensor.name));
            let count = there.clone().count() as u64;
            if let Some(first) = there.clone().next()
                && count != layers * paths.len() as u64
            {
                bail!(
                    UnsupportedModel,
                    "{}: tensor {} is there, but not the biases of {} in all layers; some alone are not supported",
                    first.file,
                    first.name,
                    paths.join(", ")
                );
            }
            fields.insert((*field).to_owned(), (count > 0).into());
        }
        Ok(fields)
    }

    /// What an architecture has besides.
    fn own(&self, sizes: &Sizes) -> Result<Map<String, Json>> {
        let fields = match self.names.architecture {
            "gemma3" => self.gemma3(sizes)?,
            "granite" => {
                let attention = match self.float("attention.scale")? {
                    Some(scale) if scale != 0.0 => number(scale),
                    _ => (1.0 / (sizes.head_dim as f64).sqrt()).into(),
                };
                // A multiplier of 0 counts as none.
                let or_one = |value: Option<f32>| number(value.filter(|value| *value != 0.0).unwrap_or(1.0));
                json!({
                    "attention_multiplier": attention,
                    "embedding_multiplier": or_one(self.float("embedding_scale")?),
                    "residual_multiplier": or_one(self.float("residual_scale")?),
                    "logits_scaling": number(self.required_float("logit_scale")?),
                })
            }
            "phi3" => {
                let turned = self.integer("rope.dimension_count")?.unwrap_or(sizes.head_dim);
                let original = self.integer("rope.scaling.original_context_length")?.unwrap_or(sizes.context);
                json!({
                    "partial_rotary_factor": share(turned, sizes.head_dim),
                    "original_max_position_embeddings": original,
                    "sliding_window": self.integer("attention.sliding_window")?.filter(|window| *window > 0),
                })
            }
            "qwen2" | "qwen3" => json!({"use_sliding_window": false}),
            "smollm3" => json!({"no_rope_layer_interval": 4, "use_sliding_window": false}),
            _ => json!({}),
        };
        let Json::Object(fields) = fields else { unreachable!("json! of an object is an object") };
        Ok(fields)
    }

    fn gemma3(&self, sizes: &Sizes) -> Result<Json> {
        // The largest model alone divides by another width than a head's.
        let scalar = if sizes.layers == 62 { sizes.hidden / sizes.q_heads } else { sizes.head_dim };
        let window = self.integer("attention.sliding_window")?.filter(|window| *window > 0);
        let is_local = |layer: u64, pattern: u64| {
            window.is_some() && pattern > 0 && !(layer + 1).is_multiple_of(pattern)
        };
        let name = "attention.sliding_window_pattern";
        let local: Vec<bool> = match self.metadata().get(&self.key(name)) {
            Some(Value::Numbers(_)) => {
                let local = self.metadata().integers(&self.key(name))?.unwrap_or_default();
                if local.len() as u64 != sizes.layers {
                    let what = format!("has {} values for {} layers", local.len(), sizes.layers);
                    return Err(self.metadata().bad(&self.key(name), what));
                }
                local.iter().map(|flag| window.is_some() && *flag != 0).collect()
            }
            _ => {
                let pattern = self.integer(name)?.unwrap_or(6);
                (0..sizes.layers).map(|layer| is_local(layer, pattern)).collect()
            }
        };
        let layer_type = |local: &bool| if *local { "sliding_attention" } else { "full_attention" };
        Ok(json!({
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": scalar,
            "sliding_window": window.unwrap_or(4096),
            "layer_types": local.iter().map(layer_type).collect::<Vec<_>>(),
            "rope_local_base_freq": number(self.positive("rope.freq_base_swa")?.unwrap_or(10_000.0)),
            "final_logit_softcapping": self.float("final_logit_softcapping")?.filter(|cap| *cap != 0.0).map(number),
        }))
    }
}

/// The ids that end a turn, each once.
fn end_ids(metadata: &Metadata) -> Result<Vec<u64>> {
    let mut ids = Vec::new();
    for name in ["eos_token_id", "eot_token_id", "eom_token_id"] {
        if let Some(id) = metadata.integer(&format!("tokenizer.ggml.{name}"))?
            && !ids.contains(&id)
        {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// An F32 as the shortest decimal that means it.
fn number(value: f32) -> Json {
    value.to_string().parse::<f64>().expect("a float's text is a number").into()
}

fn numbers(values: &[f32]) -> Vec<Json> {
    values.iter().copied().map(number).collect()
}

/// The factor by which transformers comes from `whole` to `part`, cutting off what lies behind the point.
fn share(part: u64, whole: u64) -> f64 {
    let share = part as f64 / whole as f64;
    if (whole as f64 * share) as u64 == part { share } else { share.next_up() }
}

/// What a checkpoint of such an embedding has; quantised ones were made from models of 16 bits.
fn dtype(kind: GgmlType) -> &'static str {
    match kind {
        GgmlType::F32 => "float32",
        GgmlType::F16 => "float16",
        _ => "bfloat16",
    }
}
