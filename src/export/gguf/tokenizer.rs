//! A tokenizer as llama.cpp has it: byte-level BPE with its merges, or SentencePiece's with scores.

use serde_json::Value;

use super::header::Metadata;
use super::pre;
use crate::bail;
use crate::data::tokenizer::{Tokenizer, chat_template_source, tokenizer_json};
use crate::error::{Code, Error, Result};
use crate::export::original::Original;

// `tokenizer.ggml.token_type`, as llama.cpp numbers it.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// What stands for a blank in SentencePiece's tokens.
const MARK: &str = "▁";

/// The tokens of a model by their ids.
struct Vocabulary {
    tokens: Vec<String>,
    kinds: Vec<i32>,
    ids: std::collections::HashMap<String, usize>,
}

/// Returns what llama.cpp does otherwise.
///
/// # Errors
///
/// Code `unsupported-model` for a tokenizer that llama.cpp has not.
pub(super) async fn write(
    original: &Original<'_>,
    tokenizer: &Tokenizer,
    metadata: &mut Metadata,
) -> Result<Option<String>> {
    let bytes = tokenizer_json(original.files).await?;
    let file: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Error::new(Code::BadModel, format!("tokenizer.json: {error}")))?;
    let model = &file["model"];
    if model["type"] != "BPE" {
        bail!(
            UnsupportedModel,
            "tokenizer.json: llama.cpp has no tokenizer of type {}; take format safetensors",
            model["type"]
        );
    }
    let is_sentence_piece = model["byte_fallback"] == true;
    let vocabulary = Vocabulary::read(&file, original.architecture.vocab.real, is_sentence_piece);
    let merges = merges(model);
    if is_sentence_piece {
        metadata.string("tokenizer.ggml.model", "llama");
        metadata.string("tokenizer.ggml.pre", "default");
        metadata.strings("tokenizer.ggml.tokens", &vocabulary.tokens);
        metadata.f32s("tokenizer.ggml.scores", &scores(&vocabulary, &merges));
        metadata.i32s("tokenizer.ggml.token_type", &vocabulary.kinds);
        metadata.bool("tokenizer.ggml.add_space_prefix", has_space_prefix(&file));
    } else {
        let Some(pre) = pre::name(&file["pre_tokenizer"], model["ignore_merges"] == true) else {
            bail!(
                UnsupportedModel,
                "tokenizer.json: llama.cpp has no name for this pre_tokenizer, so that it would cut text otherwise; take \
                 format safetensors"
            );
        };
        metadata.string("tokenizer.ggml.model", "gpt2");
        metadata.string("tokenizer.ggml.pre", pre);
        metadata.strings("tokenizer.ggml.tokens", &vocabulary.tokens);
        metadata.i32s("tokenizer.ggml.token_type", &vocabulary.kinds);
        let merges: Vec<String> = merges.iter().map(|(left, right)| format!("{left} {right}")).collect();
        metadata.strings("tokenizer.ggml.merges", &merges);
    }
    write_special(original, tokenizer, metadata)?;
    if let Some(template) = chat_template_source(original.files).await? {
        metadata.string("tokenizer.chat_template", &template);
    }
    Ok(prefix_notice(&file).filter(|_| is_sentence_piece))
}

/// llama.cpp puts a blank before what follows any special token, and before blanks.
fn prefix_notice(file: &Value) -> Option<String> {
    let is_first = |part: &Value| part["type"] == "Metaspace" && part["prepend_scheme"] == "first";
    let steps = file["pre_tokenizer"]["pretokenizers"].as_array();
    let any = steps.map_or_else(|| is_first(&file["pre_tokenizer"]), |steps| steps.iter().any(is_first));
    any.then(|| {
        "llama.cpp puts a blank behind every special token, where this tokenizer puts one before the first word of a text \
         alone: in chats that begin with a special token there is one more"
            .to_owned()
    })
}

/// The special tokens, and which of them stand around a text.
fn write_special(original: &Original<'_>, tokenizer: &Tokenizer, metadata: &mut Metadata) -> Result<()> {
    let id = |name: &str| tokenizer.special_token(name).and_then(|token| tokenizer.token_to_id(token));
    let eos = id("eos_token").or_else(|| original.architecture.eos_token_ids.first().copied());
    for (key, id) in [
        ("bos_token_id", id("bos_token")),
        ("eos_token_id", eos),
        ("unknown_token_id", id("unk_token")),
        ("padding_token_id", id("pad_token")),
    ] {
        if let Some(id) = id {
            metadata.u32(&format!("tokenizer.ggml.{key}"), id as usize);
        }
    }
    let [adds_bos, adds_eos] = added(tokenizer)?;
    metadata.bool("tokenizer.ggml.add_bos_token", adds_bos);
    metadata.bool("tokenizer.ggml.add_eos_token", adds_eos);
    Ok(())
}

/// Whether the tokenizer puts its BOS before every text, and its EOS behind.
pub(in crate::export) fn added(tokenizer: &Tokenizer) -> Result<[bool; 2]> {
    let id = |name: &str| tokenizer.special_token(name).and_then(|token| tokenizer.token_to_id(token));
    let (plain, whole) = (tokenizer.encode("a", false)?, tokenizer.encode("a", true)?);
    let is_added =
        |id: Option<u32>, end: Option<&u32>| id.is_some() && end == id.as_ref() && plain.len() < whole.len();
    Ok([is_added(id("bos_token"), whole.first()), is_added(id("eos_token"), whole.last())])
}

impl Vocabulary {
    /// The tokens of the ids below `count`, which the model knows.
    fn read(file: &Value, count: usize, is_sentence_piece: bool) -> Self {
        let mut tokens: Vec<String> = (0..count).map(|id| format!("[PAD{id}]")).collect();
        let mut kinds = vec![UNUSED; count];
        let known = file["model"]["vocab"].as_object().into_iter().flatten();
        let unknown = file["model"]["unk_token"].as_str();
        for (token, id) in known.filter_map(|(token, id)| Some((token, id.as_u64()? as usize))) {
            if id < count {
                let is_byte = is_sentence_piece && token.len() == 6 && token.starts_with("<0x");
                kinds[id] = if is_byte { BYTE } else { NORMAL };
                tokens[id].clone_from(token);
            }
        }
        for token in file["added_tokens"].as_array().into_iter().flatten() {
            let (Some(id), Some(content)) = (token["id"].as_u64(), token["content"].as_str()) else {
                continue;
            };
            let id = id as usize;
            if id < count {
                kinds[id] = if token["special"] == true { CONTROL } else { USER_DEFINED };
                tokens[id] = content.to_owned();
            }
        }
        let mut ids = std::collections::HashMap::with_capacity(count);
        for (id, token) in tokens.iter_mut().enumerate() {
            if is_sentence_piece && unknown == Some(token) {
                kinds[id] = UNKNOWN;
            }
            ids.insert(token.clone(), id);
            // llama.cpp looks for these in the text as it is.
            if is_sentence_piece && kinds[id] == USER_DEFINED {
                *token = token.replace(MARK, " ");
            }
        }
        Vocabulary { tokens, kinds, ids }
    }
}

/// Pairs of tokens in the order in which they are joined.
fn merges(model: &Value) -> Vec<(&str, &str)> {
    let pair = |merge: &'_ Value| match merge {
        // Files of before tokenizers 0.20 have both in one string.
        Value::String(text) => text.split_once(' ').map(|(left, right)| (left.len(), right.len())),
        _ => None,
    };
    let merges = model["merges"].as_array().into_iter().flatten();
    merges
        .filter_map(|merge| match pair(merge) {
            Some((left, _)) => merge.as_str().map(|text| (&text[..left], &text[left + 1..])),
            None => Some((merge[0].as_str()?, merge[1].as_str()?)),
        })
        .collect()
}

/// SentencePiece joins the neighbours whose token has the highest score: that of the first merge that makes it.
fn scores(vocabulary: &Vocabulary, merges: &[(&str, &str)]) -> Vec<f32> {
    let mut scores: Vec<f32> = vocabulary
        .kinds
        .iter()
        .map(|kind| if *kind == NORMAL { -(merges.len() as f32) } else { 0.0 })
        .collect();
    let mut joined = String::new();
    for (rank, (left, right)) in merges.iter().enumerate().rev() {
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        if let Some(&id) = vocabulary.ids.get(&joined)
            && vocabulary.kinds[id] == NORMAL
        {
            scores[id] = -(rank as f32);
        }
    }
    scores
}

/// Whether a blank is put before a text.
fn has_space_prefix(file: &Value) -> bool {
    let parts = |part: &'static str, list: &'static str| match file[part][list].as_array() {
        Some(parts) => parts.clone(),
        None => vec![file[part].clone()],
    };
    let prepends = |part: &Value| part["type"] == "Prepend";
    let is_metaspace = |part: &Value| part["type"] == "Metaspace" && part["prepend_scheme"] != "never";
    parts("normalizer", "normalizers").iter().any(prepends)
        || parts("pre_tokenizer", "pretokenizers").iter().any(is_metaspace)
}
