//! A model's architecture as data: what `config.json` says, read once. Everything else iterates over it.
//!
//! A family is one file that reads its config; all of them are the same pre-norm decoder with optional parts.

mod decoder;
mod fields;
mod gemma;
mod granite;
mod llama;
mod phi;
mod qwen;
mod rope;
mod smollm;

use std::ops::{Index, IndexMut};

use serde_json::{Map, Value};

use self::fields::{FILE, Fields};
pub use self::rope::{Rope, RopeScaling};
use super::names::{EMBEDDING, FINAL_NORM, HEAD, LAYERS};
use crate::bail;
use crate::error::{Code, Error, Result};
use crate::kernels::glu::Act;

/// What `config.json` says of a model that this engine can run. Defaults are those of the family's class in
/// transformers.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// The family, e.g. `llama`.
    pub model_type: String,
    pub hidden: Width,
    pub vocab: Width,
    /// Positions that the model was made for: `max_position_embeddings`, or those that `dynamic` stretches them to.
    /// Answers end there; rows may be longer.
    pub context: usize,
    /// Of all norms: `rms_norm_eps`.
    pub eps: f32,
    /// Whether a norm multiplies by 1 + w rather than by w, which loading sees to.
    pub norms_add_one: bool,
    /// Multiplies the rows of the embedding.
    pub embedding_scale: f32,
    /// Multiplies the logits.
    pub logits_scale: f32,
    /// Whether the head is the embedding: `tie_word_embeddings`.
    pub tied: bool,
    /// What [`Attention::rope`] points at.
    pub ropes: Vec<Rope>,
    /// What [`Attention::view`] points at.
    pub views: Vec<View>,
    pub layers: Vec<Layer>,
    /// What comes before the number of a layer in the paths of PEFT.
    pub adapter_path: &'static str,
    /// The token whose row of the embedding learns nothing from where it stands in a text: torch's `padding_idx`.
    pub padding_id: Option<u32>,
    /// Any of these ends a turn; may be empty.
    pub eos_token_ids: Vec<u32>,
    /// The dtype that the weights are said to have, e.g. `bfloat16`.
    pub dtype: Option<String>,
    /// Fields with the chance of a dropout that transformers applies in training and this engine does not, e.g.
    /// `attention_dropout`; none where it is 0.
    pub dropouts: Vec<(String, f64)>,
}

/// A width as the checkpoint has it, and rounded up to a multiple of 8, so that kernels read whole vectors. The
/// lanes between are zero in weights and activations alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width {
    pub real: usize,
    pub padded: usize,
}

/// `value` rounded up to a multiple of 8.
pub const fn pad8(value: usize) -> usize {
    value.next_multiple_of(8)
}

impl Width {
    pub const fn new(real: usize) -> Self {
        Width { real, padded: pad8(real) }
    }
}

/// The tokens before it that a token sees, itself among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    All,
    /// The last so many: `sliding_window`.
    Window(usize),
}

impl View {
    /// The first position that is seen from the one before `end`.
    pub fn start(self, end: u32) -> u32 {
        match self {
            View::All => 0,
            View::Window(window) => end.saturating_sub(u32::try_from(window).unwrap_or(u32::MAX)),
        }
    }
}

/// A decoder layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    pub norms: Norms,
    pub attention: Attention,
    /// `intermediate_size`.
    pub ffn: Width,
    pub act: Act,
    pub groups: ByGroup<Vec<Module>>,
    /// Multiplies what attention and feed-forward add to the residual stream.
    pub residual_scale: f32,
}

impl Layer {
    /// Where queries, keys and values lie in the row of an activation, and its length.
    pub fn qkv(&self) -> QkvColumns {
        let (queries, keys) = (self.attention.queries(), self.attention.keys());
        match &self.groups[Group::Qkv][..] {
            [fused] => {
                QkvColumns { k: queries.real, v: queries.real + keys.real, stride: fused.outputs.padded }
            }
            _ => QkvColumns {
                k: queries.padded,
                v: queries.padded + keys.padded,
                stride: queries.padded + 2 * keys.padded,
            },
        }
    }

    /// Where up lies behind gate in the row of an activation, and its length.
    pub fn gate_up(&self) -> GateUpColumns {
        match &self.groups[Group::GateUp][..] {
            [fused] => {
                GateUpColumns { width: self.ffn.real, up: self.ffn.real, stride: fused.outputs.padded }
            }
            _ => GateUpColumns { width: self.ffn.padded, up: self.ffn.padded, stride: 2 * self.ffn.padded },
        }
    }

    /// What a group's output is multiplied by.
    pub fn scale(&self, group: Group) -> f32 {
        match group {
            Group::Qkv | Group::GateUp => 1.0,
            Group::Output | Group::Down => self.residual_scale,
        }
    }
}

/// Queries begin at column 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QkvColumns {
    pub k: usize,
    pub v: usize,
    pub stride: usize,
}

/// Gate begins at column 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateUpColumns {
    /// Columns of each of them.
    pub width: usize,
    pub up: usize,
    pub stride: usize,
}

/// The norms of a layer by their paths within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Norms {
    pub before_attention: &'static str,
    /// Of what attention gives, before that is added to the residual stream.
    pub after_attention: Option<&'static str>,
    pub before_feed_forward: &'static str,
    pub after_feed_forward: Option<&'static str>,
}

impl Norms {
    pub(super) fn paths(&self) -> impl Iterator<Item = &'static str> {
        let Norms { before_attention, after_attention, before_feed_forward, after_feed_forward } = *self;
        let behind = after_attention.into_iter().chain(after_feed_forward);
        [before_attention, before_feed_forward].into_iter().chain(behind)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    pub q_heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Multiplies the scores.
    pub scale: f32,
    /// The norms of each head of queries and of keys by their paths within the layer.
    pub head_norm: Option<[&'static str; 2]>,
    /// Index into [`Architecture::ropes`]; `None` where positions take no part.
    pub rope: Option<usize>,
    /// Index into [`Architecture::views`].
    pub view: usize,
}

impl Attention {
    pub fn queries(&self) -> Width {
        Width::new(self.q_heads * self.head_dim)
    }

    /// Of the keys, and of the values.
    pub fn keys(&self) -> Width {
        Width::new(self.kv_heads * self.head_dim)
    }
}

/// A linear layer of a decoder layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    /// Path within the decoder layer, e.g. `self_attn.q_proj`.
    pub path: &'static str,
    pub inputs: Width,
    pub outputs: Width,
    pub has_bias: bool,
}

impl Module {
    /// The shape of its weight in a checkpoint.
    pub fn shape(&self) -> [usize; 2] {
        [self.outputs.real, self.inputs.real]
    }

    /// Values of its weight, without padding. A browser's `usize` would be too small to add them up.
    pub fn values(&self) -> u64 {
        self.inputs.real as u64 * self.outputs.real as u64
    }
}

/// Linear layers that share their input, in the order in which a forward pass meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Queries, keys and values.
    Qkv,
    /// What attention gives, back into the residual stream.
    Output,
    GateUp,
    Down,
}

impl Group {
    pub const ALL: [Group; 4] = [Group::Qkv, Group::Output, Group::GateUp, Group::Down];
}

/// One of something for each [`Group`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ByGroup<T>(pub [T; 4]);

impl<T> Index<Group> for ByGroup<T> {
    type Output = T;

    fn index(&self, group: Group) -> &T {
        &self.0[group as usize]
    }
}

impl<T> IndexMut<Group> for ByGroup<T> {
    fn index_mut(&mut self, group: Group) -> &mut T {
        &mut self.0[group as usize]
    }
}

type Read = fn(&Fields) -> Result<Architecture>;

/// The families that work, as `model_type` names them, and what reads their configs.
const FAMILIES: [(&str, Read); 9] = [
    ("gemma3", gemma::gemma3),
    ("gemma3_text", gemma::gemma3_text),
    ("granite", granite::granite),
    ("llama", llama::llama),
    ("mistral", llama::mistral),
    ("phi3", phi::phi3),
    ("qwen2", qwen::qwen2),
    ("qwen3", qwen::qwen3),
    ("smollm3", smollm::smollm3),
];

/// The families that work, as `model_type` names them.
pub fn model_types() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|(model_type, _)| *model_type)
}

impl Architecture {
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
        let Some((_, read)) = FAMILIES.iter().find(|(name, _)| *name == model_type) else {
            let works: Vec<&str> = model_types().collect();
            bail!(
                UnsupportedModel,
                "{FILE}: model_type {model_type:?} is not supported; what works is {}",
                works.join(", ")
            );
        };
        refuse_unsupported(&fields)?;
        read(&fields)
    }

    /// All linear layers of the decoder with the number of their layer, in the order of a forward pass.
    pub fn modules(&self) -> impl Iterator<Item = (usize, &Module)> {
        let layers = self.layers.iter().enumerate();
        layers.flat_map(|(number, layer)| layer.groups.0.iter().flatten().map(move |module| (number, module)))
    }

    /// Names and shapes of all tensors that a checkpoint must hold. A linear weight is
    /// `[out_features, in_features]`; a tied head is the embedding and not listed again.
    pub fn checkpoint_tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, vocab) = (self.hidden.real, self.vocab.real);
        let mut tensors = vec![(EMBEDDING.to_owned(), vec![vocab, hidden])];
        for (number, layer) in self.layers.iter().enumerate() {
            let prefix = format!("{LAYERS}.{number}");
            for norm in layer.norms.paths() {
                tensors.push((format!("{prefix}.{norm}.weight"), vec![hidden]));
            }
            for norm in layer.attention.head_norm.iter().flatten() {
                tensors.push((format!("{prefix}.{norm}.weight"), vec![layer.attention.head_dim]));
            }
            for module in layer.groups.0.iter().flatten() {
                tensors.push((format!("{prefix}.{}.weight", module.path), module.shape().to_vec()));
                if module.has_bias {
                    tensors.push((format!("{prefix}.{}.bias", module.path), vec![module.outputs.real]));
                }
            }
        }
        tensors.push((FINAL_NORM.to_owned(), vec![hidden]));
        if !self.tied {
            tensors.push((HEAD.to_owned(), vec![vocab, hidden]));
        }
        tensors
    }

    /// Values of the decoder's linear layers, without padding.
    pub fn linear_parameters(&self) -> u64 {
        self.modules().map(|(_, module)| module.values()).sum()
    }

    /// Values of all weights, a tied head counted once.
    pub fn parameters(&self) -> u64 {
        let values = |shape: Vec<usize>| shape.into_iter().map(|size| size as u64).product::<u64>();
        self.checkpoint_tensors().into_iter().map(|(_, shape)| values(shape)).sum()
    }
}

/// What no family does yet. Which weights bitsandbytes quantised, and how, their tensors say.
fn refuse_unsupported(fields: &Fields) -> Result<()> {
    let Some(config) = fields.object("quantization_config")? else { return Ok(()) };
    match config.get("quant_method").and_then(Value::as_str) {
        Some("bitsandbytes") => Ok(()),
        // Configs of before the field was there have one of bitsandbytes' options.
        None if config.contains_key("load_in_8bit") || config.contains_key("load_in_4bit") => Ok(()),
        method => bail!(
            UnsupportedModel,
            "{FILE}: quantization_config is of {}, but only bitsandbytes is supported; take the model as it was before, \
             or a GGUF of it",
            method.map_or("no known method".to_owned(), |method| format!("{method:?}"))
        ),
    }
}
