//! SentencePiece's BPE (`tokenizer.ggml.model` `llama`): the scores of the tokens say which of two neighbours are joined
//! first. As in transformers' converter, every cut of a token into two tokens becomes a merge.

use serde_json::{Value as Json, json};

use super::vocabulary::{Kind, TOKENS, Vocabulary};
use super::{Merges, Model, Parts};
use crate::error::Result;
use crate::format::gguf::names::Names;
use crate::format::gguf::value::Metadata;

const SCORES: &str = "tokenizer.ggml.scores";
/// How many times over the texts of all tokens the merges may hold them. Gemma's do so twice, but tokens that
/// are all parts of one another would do so without end.
const MOST_MERGES: usize = 16;
/// What stands for a blank.
pub(super) const MARK: &str = "▁";

pub(super) fn parts<'a>(metadata: &Metadata, names: &Names, vocabulary: &'a Vocabulary) -> Result<Parts<'a>> {
    let mut scores = metadata.required(SCORES, metadata.floats(SCORES)?)?;
    if scores.len() != vocabulary.len() {
        let what = format!("has {} values for {} tokens", scores.len(), vocabulary.len());
        return Err(metadata.bad(SCORES, what));
    }
    rank_equal(&mut scores, vocabulary);
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
            merges: Merges::Cut(cuts(metadata, vocabulary, &scores)?),
        },
        adds_bos: true,
    })
}

/// A file that was made without SentencePiece's own has one score for all ordinary tokens. In all such vocabularies
/// those that are joined first come first.
fn rank_equal(scores: &mut [f32], vocabulary: &Vocabulary) {
    let ordinary = vocabulary.iter().zip(scores.iter()).filter(|((_, kind), _)| *kind == Kind::Normal);
    let mut found = ordinary.map(|(_, score)| *score);
    let first = found.next();
    if found.all(|score| Some(score) == first) {
        for (id, score) in scores.iter_mut().enumerate() {
            *score = -(id as f32);
        }
    }
}

/// A token cut into two others.
pub(super) struct Cut {
    score: f32,
    pub(super) token: u32,
    /// The byte where the right one begins.
    pub(super) at: u32,
    /// Characters of the left and the right one.
    lengths: [u32; 2],
}

/// The cuts of all tokens into two, those of the highest score first, and of equal ones those with the longest parts.
fn cuts(metadata: &Metadata, vocabulary: &Vocabulary, scores: &[f32]) -> Result<Vec<Cut>> {
    let mut room = MOST_MERGES * vocabulary.iter().map(|(token, _)| token.len()).sum::<usize>();
    let mut cuts = Vec::new();
    for (id, ((token, kind), &score)) in vocabulary.iter().zip(scores).enumerate() {
        let score = match kind {
            Kind::Normal => score,
            // SentencePiece finds these before anything is joined, whatever score a converter gave them.
            Kind::UserDefined => f32::INFINITY,
            _ => continue,
        };
        let characters = token.chars().count();
        for (left, (at, _)) in token.char_indices().enumerate().skip(1) {
            let parts = token.split_at(at);
            if vocabulary.id(parts.0).is_none() || vocabulary.id(parts.1).is_none() {
                continue;
            }
            room = room.checked_sub(token.len()).ok_or_else(|| {
                metadata.bad(TOKENS, "can be cut into one another in more ways than are read")
            })?;
            let lengths = [left as u32, (characters - left) as u32];
            cuts.push(Cut { score, token: id as u32, at: at as u32, lengths });
        }
    }
    cuts.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| b.lengths.cmp(&a.lengths)));
    Ok(cuts)
}
