//! A look at rows before they are trained on: as the model will see them, and how long they are.

use serde::Serialize;

use super::encode::{EncodedRow, Encoder, RowUse};
use super::example::Example;
use super::library::StoredRow;
use super::tokenizer::Tokenizer;
use super::tokens::TokenSet;
use crate::error::{Context, Result};

/// A row as the model will see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeenRow {
    /// E.g. `chats.jsonl line 17`.
    pub origin: String,
    pub tokens: Vec<SeenToken>,
    /// Tokens before the row was cut to `max_length`.
    pub full_length: u32,
    /// Whether the answer is a desirable one, where answers are judged by themselves and the row says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<bool>,
    /// Of a pair, whose chosen answer is above, the prompt with the rejected one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<SeenAnswer>,
}

/// A prompt with an answer as the model will see it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SeenAnswer {
    pub tokens: Vec<SeenToken>,
    /// Tokens before it was cut to `max_length`.
    pub full_length: u32,
}

/// A token of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeenToken {
    pub id: u32,
    /// What it adds to the text before it. A character of several tokens comes with its last one.
    pub text: String,
    /// Whether the loss counts it.
    pub labelled: bool,
    /// Whether it is one of the tokenizer's special tokens, such as the end of a turn.
    pub special: bool,
}

impl SeenRow {
    pub fn new(row: &StoredRow, tokenizer: &Tokenizer, encoder: &Encoder<'_>) -> Result<Self> {
        let read = Example::from_json(&row.row).and_then(|example| {
            let label = match &example {
                Example::Rated { is_good, .. } if encoder.rows_as() == RowUse::Judged => Some(*is_good),
                _ => None,
            };
            Ok((encoder.units(&example)?, label))
        });
        let (units, label) = read.context(row.origin())?;
        let policy_rows = encoder.rows_as().policy_rows() as usize;
        let rows = units.iter().flat_map(|unit| unit.rows.iter().take(policy_rows));
        let mut seen =
            rows.map(|row| SeenAnswer::new(row, tokenizer)).collect::<Result<Vec<_>>>()?.into_iter();
        let SeenAnswer { tokens, full_length } = seen.next().unwrap_or_default();
        Ok(SeenRow { origin: row.origin(), tokens, full_length, label, rejected: seen.next() })
    }
}

impl SeenAnswer {
    fn new(row: &EncodedRow, tokenizer: &Tokenizer) -> Result<Self> {
        let mut decoder = tokenizer.stream_decoder();
        let mut tokens = Vec::new();
        for (&id, &labelled) in row.encoded.ids.iter().zip(&row.encoded.labelled) {
            let special = tokenizer.is_special(id);
            let text = if special { tokenizer.decode(&[id], false)? } else { decoder.push(id)? };
            tokens.push(SeenToken { id, text, labelled, special });
        }
        Ok(SeenAnswer { tokens, full_length: row.full_length })
    }
}

/// How long the rows of a dataset are. Of preferences each answer with its prompt is a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lengths {
    /// Tokens of the longest row before it is cut.
    pub longest: u32,
    /// Rows with `i · width` up to `(i + 1) · width − 1` tokens before they are cut, by i.
    pub rows: Vec<u32>,
    /// Tokens that each entry of `rows` spans.
    pub width: u32,
    /// Rows that are cut to `max_length`.
    pub cut_rows: u64,
    /// Tokens that are cut off.
    pub cut_tokens: u64,
}

impl Lengths {
    /// A histogram of at most `bins` entries.
    pub fn new(set: &TokenSet, bins: usize) -> Self {
        let index = &set.index;
        let of_row = |row: u32| [index.full_lengths[row as usize], index.lengths[row as usize]];
        let lengths = set.policy_rows().map(of_row);
        let longest = lengths.clone().map(|[full, _]| full).max().unwrap_or(0);
        let width = (longest + 1).div_ceil(bins.max(1) as u32);
        let mut rows = vec![0; (longest / width + 1) as usize];
        for [full, _] in lengths.clone() {
            rows[(full / width) as usize] += 1;
        }
        let cut = lengths.map(|[full, kept]| u64::from(full - kept));
        Lengths {
            longest,
            rows,
            width,
            cut_rows: cut.clone().filter(|&tokens| tokens > 0).count() as u64,
            cut_tokens: cut.sum(),
        }
    }
}
