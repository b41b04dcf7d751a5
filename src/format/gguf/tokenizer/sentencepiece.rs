//! SentencePiece's BPE (`tokenizer.ggml.model` `llama`): the scores of the tokens say which of two neighbours are joined
//! first. As in transformers' converter, every cut of a token into two tokens becomes a merge.

use std::cmp::Reverse;

use serde_json::{Value as Json, json};

use super::vocabulary::{Kind, TOKENS, Vocabulary};
use super::{Merges, Model, Parts};
use crate::error::Result;
use crate::format::gguf::names::Names;
use crate::format::gguf::value::Metadata;

const SCORES: &str = "tokenizer.ggml.scores";
/// How many times over the texts of all tokens the merges may hold them. Gemma's do so three times, but tokens that
/// are all parts of one another would do so without end.
const MOST_MERGES: usize = 64;
/// What stands for a blank.
pub(super) const MARK: &str = "▁";

pub(super) fn parts<'a>(metadata: &Metadata, names: &Names, vocabulary: &'a Vocabulary) -> Result<Parts<'a>> {
    let scores = metadata.required(SCORES, metadata.floats(SCORES)?)?;
    if scores.len() != vocabulary.len() {
        let what = format!("has {} values for {} tokens", scores.len(), vocabulary.len());
        return Err(metadata.bad(SCORES, what));
    }
    let flag = |name: &str| metadata.boolean(&format!("tokenizer.ggml.{name}"));
    let has_prefix = flag("add_space_prefix")?.unwrap_or(true);
    let removes_blanks = flag("remove_extra_whitespaces")?.unwrap_or(false);
    // Phi-3's tokenizer puts the mark behind every special token, the others' before the first word alone.
    let prepends_often = has_prefix && names.architecture == "phi3";
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": MARK});
    let mut normalizers = Vec::new();
    if removes_blanks {
        normalizers.push(json!({"type": "Strip", "strip_left": true, "strip_right": true}));
        normalizers.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
    }
    if prepends_often {
        normalizers.push(json!({"type": "Prepend", "prepend": MARK}));
    }
    let mut pre_tokenizer = Json::Null;
    if has_prefix && !prepends_often {
        pre_tokenizer =
            json!({"type": "Metaspace", "replacement": MARK, "prepend_scheme": "first", "split": false});
    } else {
        normalizers.push(replace);
    }
    let normalizer = match normalizers.len() {
        0 => Json::Null,
        1 => normalizers.remove(0),
        _ => json!({"type": "Sequence", "normalizers": normalizers}),
    };
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": MARK}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    decoders.extend(has_prefix.then(|| json!({"type": "Strip", "content": " ", "start": 1, "stop": 0})));
    Ok(Parts {
        normalizer,
        pre_tokenizer,
        decoder: json!({"type": "Sequence", "decoders": decoders}),
        model: Model {
            falls_back_to_bytes: true,
            unknown: vocabulary.special(metadata, "unknown_token_id")?,
            ignores_merges: false,
            merges: Merges::Cut(merges(metadata, vocabulary, &scores)?),
        },
        adds_bos: true,
    })
}

/// The cuts of all tokens into two, those of the highest score first, and of equal ones those with the longest parts.
fn merges<'a>(
    metadata: &Metadata,
    vocabulary: &'a Vocabulary,
    scores: &[f32],
) -> Result<Vec<(&'a str, &'a str)>> {
    let mut room = MOST_MERGES * vocabulary.iter().map(|(token, _)| token.len()).sum::<usize>();
    let mut cuts = Vec::new();
    for ((token, kind), &score) in vocabulary.iter().zip(scores) {
        let score = match kind {
            Kind::Normal => score,
            // SentencePiece finds these before anything is joined, whatever score a converter gave them.
            Kind::UserDefined => f32::INFINITY,
            _ => continue,
        };
        let characters = token.chars().count();
        for (length, (cut, _)) in token.char_indices().enumerate().skip(1) {
            let (left, right) = token.split_at(cut);
            if vocabulary.id(left).is_some() && vocabulary.id(right).is_some() {
                cuts.push((score, length, characters - length, left, right));
                room = room.checked_sub(token.len()).ok_or_else(|| {
                    metadata.bad(TOKENS, "can be cut into one another in more ways than are read")
                })?;
            }
        }
    }
    cuts.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| Reverse((a.1, a.2)).cmp(&Reverse((b.1, b.2)))));
    Ok(cuts.into_iter().map(|(.., left, right)| (left, right)).collect())
}
