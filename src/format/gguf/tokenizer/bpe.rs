//! Byte-level BPE (`tokenizer.ggml.model` `gpt2`), whose `tokenizer.ggml.pre` names how text is cut before it: the
//! names are those of llama.cpp (`llama-vocab.cpp`), the patterns those of the models' own `tokenizer.json`.

use serde_json::{Value as Json, json};

use super::patterns::{LLAMA3, O200K, QWEN, TEKKEN};
use super::vocabulary::Vocabulary;
use super::{Merges, Model, Parts};
use crate::bail;
use crate::error::Result;
use crate::format::gguf::value::Metadata;

const PRE: &str = "tokenizer.ggml.pre";
const MERGES: &str = "tokenizer.ggml.merges";

/// What llama.cpp does where a file says nothing, one pattern after the other.
const DEFAULT: [&str; 4] = [
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    r"[0-9][0-9][0-9]",
];

const DEEPSEEK_CODER: [&str; 5] = [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}"];

/// How text is cut.
#[derive(Clone, Copy)]
enum Cut {
    Patterns(&'static [&'static str]),
    /// GPT-2's pattern, which `tokenizers` has.
    Gpt2,
    /// The same, with every digit alone.
    Digits,
}

/// What goes with the name of a pre-tokenizer.
struct Pre {
    names: &'static [&'static str],
    cut: Cut,
    composes: bool,
    ignores_merges: bool,
    adds_bos: bool,
}

const PLAIN: Pre =
    Pre { names: &[], cut: Cut::Gpt2, composes: false, ignores_merges: false, adds_bos: false };

const ALL: [Pre; 9] = [
    Pre { names: &["default", ""], cut: Cut::Patterns(&DEFAULT), ..PLAIN },
    Pre { names: &["deepseek-coder"], cut: Cut::Patterns(&DEEPSEEK_CODER), ..PLAIN },
    Pre { names: &["gpt-2", "phi-2", "olmo", "mellum", "a.x-4.0", "exaone4"], ..PLAIN },
    Pre { names: &["smollm", "refact", "starcoder", "command-r", "codeshell"], cut: Cut::Digits, ..PLAIN },
    Pre {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "midm-2.0"],
        cut: Cut::Patterns(&[LLAMA3]),
        ignores_merges: true,
        adds_bos: true,
        ..PLAIN
    },
    Pre { names: &["dbrx", "smaug-bpe"], cut: Cut::Patterns(&[LLAMA3]), ..PLAIN },
    Pre {
        names: &["qwen2", "deepseek-r1-qwen", "megrez", "stablelm2"],
        cut: Cut::Patterns(&[QWEN]),
        composes: true,
        ..PLAIN
    },
    Pre { names: &["tekken"], cut: Cut::Patterns(&[TEKKEN]), ignores_merges: true, adds_bos: true, ..PLAIN },
    Pre { names: &["gpt-4o", "llama4"], cut: Cut::Patterns(&[O200K]), ..PLAIN },
];

/// The two tokens of an entry of `tokenizer.ggml.merges`; the first may begin with a blank.
pub(super) fn pair(merge: &str) -> Option<(&str, &str)> {
    let first = merge.chars().next()?.len_utf8();
    let blank = first + merge[first..].find(' ')?;
    Some((&merge[..blank], &merge[blank + 1..]))
}

pub(super) fn parts<'a>(metadata: &'a Metadata, vocabulary: &Vocabulary) -> Result<Parts<'a>> {
    let name = metadata.string(PRE)?.unwrap_or_default();
    let Some(pre) = ALL.iter().find(|pre| pre.names.contains(&name)) else {
        let known: Vec<&str> =
            ALL.iter().flat_map(|pre| pre.names).copied().filter(|name| !name.is_empty()).collect();
        bail!(
            UnsupportedModel,
            "{}: {PRE} {name:?} is not supported; what works is {}",
            metadata.file(),
            known.join(", ")
        );
    };
    let merges = metadata.required(MERGES, metadata.strings(MERGES)?)?;
    for (number, merge) in merges.iter().enumerate() {
        let known = pair(merge).is_some_and(|(left, right)| {
            let joined = [left, right].concat();
            [left, right, &joined].iter().all(|token| vocabulary.id(token).is_some())
        });
        if !known {
            let what = format!("has {merge:?} as entry {number}, which are no two tokens that make a third");
            return Err(metadata.bad(MERGES, what));
        }
    }
    Ok(Parts {
        normalizer: if pre.composes { json!({"type": "NFC"}) } else { Json::Null },
        pre_tokenizer: pre_tokenizer(pre.cut),
        decoder: byte_level(true),
        model: Model {
            falls_back_to_bytes: false,
            unknown: None,
            ignores_merges: pre.ignores_merges,
            merges: Merges::Listed(merges),
        },
        adds_bos: pre.adds_bos,
    })
}

fn byte_level(use_regex: bool) -> Json {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
}

fn pre_tokenizer(cut: Cut) -> Json {
    let mut steps: Vec<Json> = match cut {
        Cut::Gpt2 => return byte_level(true),
        Cut::Digits => vec![json!({"type": "Digits", "individual_digits": true})],
        Cut::Patterns(patterns) => {
            let split = |pattern: &&str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
            patterns.iter().map(split).collect()
        }
    };
    steps.push(byte_level(matches!(cut, Cut::Digits)));
    json!({"type": "Sequence", "pretokenizers": steps})
}
