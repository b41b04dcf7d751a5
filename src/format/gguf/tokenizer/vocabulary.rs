//! The tokens of a GGUF with what each of them is.

use std::borrow::Cow;
use std::collections::HashMap;

use super::sentencepiece::MARK;
use crate::error::Result;
use crate::format::gguf::value::Metadata;

pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";

/// `tokenizer.ggml.token_type`, as llama.cpp numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    /// Stands for no text, such as the end of a turn.
    Control,
    /// Found in a text before anything else, and stands for itself.
    UserDefined,
    Unused,
    Byte,
}

impl Kind {
    fn numbered(number: i64) -> Option<Self> {
        Some(match number {
            // What has no type is an ordinary token.
            0 | 1 => Kind::Normal,
            2 => Kind::Unknown,
            3 => Kind::Control,
            4 => Kind::UserDefined,
            5 => Kind::Unused,
            6 => Kind::Byte,
            _ => return None,
        })
    }
}

/// What `tokenizer.ggml` keys with an id say where they should say nothing.
const NO_ID: u64 = u32::MAX as u64;

pub(super) struct Vocabulary<'a> {
    tokens: Vec<Cow<'a, str>>,
    kinds: Vec<Kind>,
    ids: HashMap<Cow<'a, str>, u32>,
    /// The ids of the special tokens where no key says them.
    defaults: &'static [(&'static str, u64)],
}

impl<'a> Vocabulary<'a> {
    /// Reads the tokens, which are those of SentencePiece or of byte-level BPE.
    pub(super) fn read(metadata: &'a Metadata, is_sentencepiece: bool) -> Result<Self> {
        let tokens = metadata.required(TOKENS, metadata.strings(TOKENS)?)?;
        let count = tokens.len();
        let kinds = match metadata.integers(TYPES)? {
            None => vec![Kind::Normal; count],
            Some(types) if types.len() != count => {
                return Err(
                    metadata.bad(TYPES, format_args!("has {} values for {count} tokens", types.len()))
                );
            }
            Some(types) => types
                .into_iter()
                .map(|number| {
                    let unknown = || metadata.bad(TYPES, format_args!("has the unknown type {number}"));
                    Kind::numbered(number).ok_or_else(unknown)
                })
                .collect::<Result<_>>()?,
        };
        let named = |(id, (token, kind)): (usize, (&'a str, &Kind))| match (token, kind) {
            // As llama.cpp calls it.
            ("", _) => Cow::Owned(format!("[EMPTY_{id}]")),
            // The converter puts blanks in the place of the marks in these alone.
            (token, Kind::UserDefined) if is_sentencepiece && token.contains(' ') => {
                Cow::Owned(token.replace(' ', MARK))
            }
            (token, _) => Cow::Borrowed(token),
        };
        let tokens: Vec<Cow<str>> = tokens.iter().zip(&kinds).enumerate().map(named).collect();
        let mut ids = HashMap::with_capacity(count);
        for (id, token) in tokens.iter().enumerate() {
            if let Some(other) = ids.insert(token.clone(), id as u32) {
                return Err(metadata.bad(TOKENS, format_args!("has {token:?} as token {other} and {id}")));
            }
        }
        let defaults: &[(&str, u64)] = match is_sentencepiece {
            true => &[("bos_token_id", 1), ("eos_token_id", 2), ("unknown_token_id", 0)],
            false => &[],
        };
        let mut vocabulary = Vocabulary { tokens, kinds, ids, defaults };
        // Files of before the types have these as ordinary tokens.
        for key in ["bos_token_id", "eos_token_id", "eot_token_id", "eom_token_id"] {
            if let Some(id) = vocabulary.special_id(metadata, key)? {
                let kind = &mut vocabulary.kinds[id];
                *kind = if *kind == Kind::Normal { Kind::Control } else { *kind };
            }
        }
        Ok(vocabulary)
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    /// Tokens in the order of their ids with what they are.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.tokens.iter().map(AsRef::as_ref).zip(self.kinds.iter().copied())
    }

    /// The token whose id a key of `tokenizer.ggml` gives.
    pub(super) fn special(&self, metadata: &Metadata, key: &str) -> Result<Option<&str>> {
        Ok(self.special_id(metadata, key)?.map(|id| self.tokens[id].as_ref()))
    }

    fn special_id(&self, metadata: &Metadata, key: &str) -> Result<Option<usize>> {
        let default = self.defaults.iter().find(|(name, _)| *name == key).map(|(_, id)| *id);
        let key = format!("tokenizer.ggml.{key}");
        match metadata.integer(&key)? {
            Some(NO_ID) => Ok(None),
            Some(id) if id >= self.len() as u64 => {
                Err(metadata.bad(&key, format_args!("is {id}, but there are {} tokens", self.len())))
            }
            Some(id) => Ok(Some(id as usize)),
            None => Ok(default.filter(|id| *id < self.len() as u64).map(|id| id as usize)),
        }
    }
}
