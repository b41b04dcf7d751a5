//! `config.json` of the Llama family: sizes, rotary position embedding, special tokens.

use serde_json::{Map, Value};

use super::names::{EMBEDDING, HEAD};
use crate::bail;
use crate::error::{Code, Error, Result};

const FILE: &str = "config.json";

/// No size in a config may exceed this; it keeps products of sizes far from overflow.
const MAX_SIZE: usize = 1 << 20;

/// What `config.json` says of a model that this engine can run. Names and defaults are those of
/// transformers' `LlamaConfig` and `MistralConfig`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// `llama` (Llama 2 and 3, SmolLM2, TinyLlama) or `mistral`.
    pub model_type: String,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub vocab_size: usize,
    pub rms_norm_eps: f32,
    pub rope_theta: f32,
    pub rope_scaling: RopeScaling,
    pub tie_word_embeddings: bool,
    pub max_position_embeddings: usize,
    /// A token sees itself and the `sliding_window - 1` tokens before it.
    pub sliding_window: Option<usize>,
    pub bos_token_id: Option<u32>,
    /// Any of these ends a turn; may be empty.
    pub eos_token_ids: Vec<u32>,
    /// The dtype that the weights are said to have, e.g. `bfloat16`.
    pub dtype: Option<String>,
}

/// How the rotary frequencies are stretched for long contexts; transformers' `rope_type`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    Default,
    Linear {
        factor: f32,
    },
    Llama3 {
        factor: f32,
        low_freq_factor: f32,
        high_freq_factor: f32,
        original_max_position_embeddings: usize,
    },
}

/// One of the seven linear layers of a decoder layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Path within the decoder layer, e.g. `self_attn.q_proj`.
    pub path: &'static str,
    pub in_features: usize,
    pub out_features: usize,
}

impl ModelConfig {
    /// Reads the bytes of `config.json`.
    ///
    /// # Errors
    ///
    /// Code `bad-model`, naming the field, when JSON is broken or a field is missing or of the wrong
    /// type; code `unsupported-model`, naming the field, when it asks for something else than this
    /// engine does.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let fields: Map<String, Value> = serde_json::from_slice(json)
            .map_err(|error| Error::new(Code::BadModel, format!("{FILE}: {error}")))?;
        let fields = Fields { fields: &fields, prefix: "" };

        let model_type = fields.required("model_type", fields.string("model_type")?)?;
        let mistral = match model_type.as_str() {
            "llama" => false,
            "mistral" => true,
            other => bail!(UnsupportedModel, "{FILE}: model_type {other:?} is not llama or mistral"),
        };
        refuse_unsupported(&fields)?;

        let hidden_size = fields.size("hidden_size")?;
        let num_attention_heads = fields.size("num_attention_heads")?;
        let default_kv_heads =
            if mistral && !fields.has("num_key_value_heads") { 8 } else { num_attention_heads };
        let num_key_value_heads = fields.size_or("num_key_value_heads", default_kv_heads)?;
        if num_attention_heads % num_key_value_heads != 0 {
            bail!(
                UnsupportedModel,
                "{FILE}: num_attention_heads {num_attention_heads} is no multiple of num_key_value_heads \
                 {num_key_value_heads}"
            );
        }
        if fields.integer("head_dim")?.is_none() && hidden_size % num_attention_heads != 0 {
            bail!(
                UnsupportedModel,
                "{FILE}: hidden_size {hidden_size} is no multiple of num_attention_heads {num_attention_heads}, \
                 and there is no head_dim"
            );
        }
        let head_dim = fields.size_or("head_dim", (hidden_size / num_attention_heads).max(1))?;
        if head_dim % 4 != 0 || head_dim > 256 {
            bail!(UnsupportedModel, "{FILE}: head_dim {head_dim} is not a multiple of 4 up to 256");
        }
        let max_position_embeddings =
            fields.positive_or("max_position_embeddings", if mistral { 131_072 } else { 2048 })?;
        let (rope_theta, rope_scaling) = rope(&fields, max_position_embeddings)?;

        Ok(ModelConfig {
            hidden_size,
            intermediate_size: fields.size("intermediate_size")?,
            num_hidden_layers: fields.size("num_hidden_layers")?,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            vocab_size: fields.size("vocab_size")?,
            rms_norm_eps: fields.positive_float("rms_norm_eps")?.unwrap_or(1e-6),
            rope_theta,
            rope_scaling,
            tie_word_embeddings: fields.boolean("tie_word_embeddings")?.unwrap_or(false),
            max_position_embeddings,
            sliding_window: match mistral {
                true if !fields.has("sliding_window") => Some(4096),
                true if fields.integer("sliding_window")?.is_some() => {
                    Some(fields.positive_or("sliding_window", 0)?)
                }
                _ => None,
            },
            bos_token_id: fields.token_ids("bos_token_id", 1)?.first().copied(),
            eos_token_ids: fields.token_ids("eos_token_id", 2)?,
            dtype: fields.string("dtype")?.or(fields.string("torch_dtype")?),
            model_type,
        })
    }

    /// The linear layers of a decoder layer, in the order in which a forward pass meets them.
    pub fn linears(&self) -> [Linear; 7] {
        let (hidden, ffn) = (self.hidden_size, self.intermediate_size);
        let queries = self.num_attention_heads * self.head_dim;
        let keys = self.num_key_value_heads * self.head_dim;
        let linear = |path, in_features, out_features| Linear { path, in_features, out_features };
        [
            linear("self_attn.q_proj", hidden, queries),
            linear("self_attn.k_proj", hidden, keys),
            linear("self_attn.v_proj", hidden, keys),
            linear("self_attn.o_proj", queries, hidden),
            linear("mlp.gate_proj", hidden, ffn),
            linear("mlp.up_proj", hidden, ffn),
            linear("mlp.down_proj", ffn, hidden),
        ]
    }

    /// Names and shapes of all tensors that a checkpoint must hold. A linear weight is
    /// `[out_features, in_features]`; a tied head is the embedding and not listed again.
    pub fn checkpoint_tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, vocab) = (self.hidden_size, self.vocab_size);
        let mut tensors = vec![(EMBEDDING.to_owned(), vec![vocab, hidden])];
        for layer in 0..self.num_hidden_layers {
            let prefix = format!("model.layers.{layer}");
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                tensors.push((format!("{prefix}.{norm}.weight"), vec![hidden]));
            }
            for linear in self.linears() {
                let shape = vec![linear.out_features, linear.in_features];
                tensors.push((format!("{prefix}.{}.weight", linear.path), shape));
            }
        }
        tensors.push(("model.norm.weight".to_owned(), vec![hidden]));
        if !self.tie_word_embeddings {
            tensors.push((HEAD.to_owned(), vec![vocab, hidden]));
        }
        tensors
    }

    /// The rotary frequencies in radians per position, `[head_dim / 2]`, with the f32 steps of
    /// transformers' `modeling_rope_utils.py`.
    pub fn inv_freq(&self) -> Vec<f32> {
        let inverse = |i: usize| {
            let exponent = (2 * i) as f32 / self.head_dim as f32;
            // The power is taken in f64 and rounded, which doesn't depend on the platform's powf.
            1.0 / f64::from(self.rope_theta).powf(f64::from(exponent)) as f32
        };
        (0..self.head_dim / 2).map(|i| self.rope_scaling.apply(inverse(i))).collect()
    }

    /// Cosines and sines for positions `0..positions`, each `[positions, head_dim / 2]` row-major. The
    /// angle is rounded to f32, as in transformers.
    pub fn rope_table(&self, positions: usize) -> (Vec<f32>, Vec<f32>) {
        let frequencies = self.inv_freq();
        (0..positions)
            .flat_map(|position| frequencies.iter().map(move |frequency| position as f32 * frequency))
            .map(|angle| {
                let (sin, cos) = f64::from(angle).sin_cos();
                (cos as f32, sin as f32)
            })
            .unzip()
    }
}

impl RopeScaling {
    fn apply(self, inv_freq: f32) -> f32 {
        match self {
            RopeScaling::Default => inv_freq,
            RopeScaling::Linear { factor } => inv_freq / factor,
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                let context = original_max_position_embeddings as f32;
                let wavelength = std::f32::consts::TAU / inv_freq;
                if wavelength < context / high_freq_factor {
                    inv_freq
                } else if wavelength > context / low_freq_factor {
                    inv_freq / factor
                } else {
                    let smooth =
                        (context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    (1.0 - smooth) * inv_freq / factor + smooth * inv_freq
                }
            }
        }
    }
}

fn refuse_unsupported(fields: &Fields) -> Result<()> {
    if let Some(act) = fields.string("hidden_act")?
        && act != "silu"
    {
        bail!(UnsupportedModel, "{FILE}: hidden_act {act:?} is not supported, only \"silu\" is");
    }
    for name in ["attention_bias", "mlp_bias"] {
        if fields.boolean(name)? == Some(true) {
            bail!(UnsupportedModel, "{FILE}: {name} true is not supported");
        }
    }
    if fields.get("quantization_config").is_some() {
        bail!(
            UnsupportedModel,
            "{FILE}: quantization_config is there, but weights must not be quantised yet"
        );
    }
    Ok(())
}

/// `rope_theta` and the scaling, from `rope_parameters` (transformers 5) or from `rope_theta` and
/// `rope_scaling` (before).
fn rope(fields: &Fields, max_position_embeddings: usize) -> Result<(f32, RopeScaling)> {
    let empty = Map::new();
    // An empty object counts as none, as in transformers.
    let parameters = match fields.object("rope_scaling")? {
        Some(object) if !object.is_empty() => Fields { fields: object, prefix: "rope_scaling." },
        _ => {
            Fields { fields: fields.object("rope_parameters")?.unwrap_or(&empty), prefix: "rope_parameters." }
        }
    };
    let theta = match parameters.positive_float("rope_theta")? {
        Some(theta) => theta,
        None => fields.positive_float("rope_theta")?.unwrap_or(10_000.0),
    };
    for fields in [fields, &parameters] {
        if let Some(partial) = fields.positive_float("partial_rotary_factor")?
            && partial != 1.0
        {
            let prefix = fields.prefix;
            bail!(UnsupportedModel, "{FILE}: {prefix}partial_rotary_factor {partial} is not supported");
        }
    }
    let rope_type = match parameters.string("rope_type")? {
        Some(rope_type) => rope_type,
        None => parameters.string("type")?.unwrap_or_else(|| "default".to_owned()),
    };
    let float = |name| parameters.required(name, parameters.positive_float(name)?);
    let scaling = match rope_type.as_str() {
        "default" => RopeScaling::Default,
        "linear" => RopeScaling::Linear { factor: float("factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: float("factor")?,
            low_freq_factor: float("low_freq_factor")?,
            high_freq_factor: float("high_freq_factor")?,
            original_max_position_embeddings: parameters
                .positive_or("original_max_position_embeddings", max_position_embeddings)?,
        },
        other => {
            let prefix = parameters.prefix;
            bail!(UnsupportedModel, "{FILE}: {prefix}rope_type {other:?} is not default, linear or llama3")
        }
    };
    if let RopeScaling::Llama3 { low_freq_factor, high_freq_factor, .. } = scaling
        && low_freq_factor >= high_freq_factor
    {
        let prefix = parameters.prefix;
        bail!(BadModel, "{FILE}: {prefix}low_freq_factor is not below {prefix}high_freq_factor");
    }
    Ok((theta, scaling))
}

/// The fields of a JSON object; `null` counts as absent, a wrong type is an error that names the field.
struct Fields<'a> {
    fields: &'a Map<String, Value>,
    prefix: &'static str,
}

impl<'a> Fields<'a> {
    /// Whether the field is there at all, be it `null`.
    fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn typed<T>(
        &self,
        name: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => bail!(BadModel, "{FILE}: {}{name} is {value}, not {wanted}", self.prefix),
        }
    }

    fn required<T>(&self, name: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| Error::new(Code::BadModel, format!("{FILE}: {}{name} is missing", self.prefix)))
    }

    fn string(&self, name: &str) -> Result<Option<String>> {
        self.typed(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    fn boolean(&self, name: &str) -> Result<Option<bool>> {
        self.typed(name, "true or false", Value::as_bool)
    }

    fn object(&self, name: &str) -> Result<Option<&'a Map<String, Value>>> {
        self.typed(name, "an object", Value::as_object)
    }

    fn integer(&self, name: &str) -> Result<Option<u64>> {
        self.typed(name, "a whole number", Value::as_u64)
    }

    fn positive_float(&self, name: &str) -> Result<Option<f32>> {
        let positive = |value: &Value| {
            value.as_f64().map(|number| number as f32).filter(|number| number.is_finite() && *number > 0.0)
        };
        self.typed(name, "a positive number", positive)
    }

    fn positive_or(&self, name: &str, default: usize) -> Result<usize> {
        match self.integer(name)? {
            None => Ok(default),
            Some(0) => bail!(UnsupportedModel, "{FILE}: {}{name} is 0", self.prefix),
            Some(value) => Ok(usize::try_from(value).unwrap_or(usize::MAX)),
        }
    }

    fn size_or(&self, name: &str, default: usize) -> Result<usize> {
        let size = self.positive_or(name, default)?;
        if size > MAX_SIZE {
            bail!(UnsupportedModel, "{FILE}: {name} {size} is more than {MAX_SIZE}");
        }
        Ok(size)
    }

    fn size(&self, name: &str) -> Result<usize> {
        self.required(name, self.integer(name)?)?;
        self.size_or(name, 0)
    }

    /// One id or a list of ids; `default` where the field is absent, none where it is `null`.
    fn token_ids(&self, name: &str, default: u32) -> Result<Vec<u32>> {
        if !self.has(name) {
            return Ok(vec![default]);
        }
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids = self.typed(name, "a token id or a list of them", |value| match value {
            Value::Array(values) => values.iter().map(id).collect(),
            value => id(value).map(|id| vec![id]),
        })?;
        Ok(ids.unwrap_or_default())
    }
}
