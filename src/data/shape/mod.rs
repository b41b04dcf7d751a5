//! The shapes that rows of training data come in, and the one form in which they are kept.
//!
//! A dataset keeps each row as TRL would have it: `{"messages"}`, `{"prompt", "completion"}`, `{"text"}`,
//! `{"prompt", "chosen", "rejected"}` or `{"prompt", "completion", "label"}`. ShareGPT's rows are turned into these.
//! A question and its answer that are asked as a chat are kept as `{"prompt": [messages], "completion": [messages],
//! "pair": true}`: a model with a chat template learns them as that chat, one without as text.

mod columns;
#[cfg(test)]
mod tests;
mod turns;
mod unknown;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::example::{Message, kind, pair_text};
use crate::bail;
use crate::error::{Code, Error, Result};

pub use columns::check_names;
use columns::{Columns, is_filled, is_plain_pair};
pub use turns::chat;

/// How a row says what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// `messages`: a list of `{role, content}`.
    Messages,
    /// `prompt` and `completion`, two texts or two lists of messages; or a question and its answer in other
    /// words.
    PromptCompletion,
    /// `text`.
    Text,
    /// `instruction`, perhaps with `input`, and `output`.
    Alpaca,
    /// `conversations`: a list of `{from, value}`.
    Sharegpt,
    /// `chosen` and `rejected`, perhaps with `prompt`.
    Preference,
    /// `prompt` and `completion` with `label`: whether the answer is a desirable one.
    UnpairedPreference,
}

/// What a pair of texts, a question and its answer, becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pairs {
    /// `prompt` and `completion` by these very names are TRL's bare text, every other pair is a chat.
    #[default]
    Auto,
    /// A user's and an assistant's turn.
    Chat,
    /// Bare text.
    Text,
}

/// How rows are read, where their columns do not say it.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The names of columns that do not have the usual ones, by part.
    pub names: &'a BTreeMap<String, String>,
    pub pairs: Pairs,
}

/// A shape, and the column that each of its parts is read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mapping {
    pub shape: Shape,
    pub columns: BTreeMap<&'static str, String>,
}

/// A row as it is kept, and what became of its columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub row: Value,
    pub mapping: Mapping,
    /// Columns that hold something and are not used.
    pub ignored: Vec<String>,
    /// Columns of a question, an answer or a text that hold nothing.
    pub empty: Vec<String>,
}

/// Reads a row by the columns it has. Errors of code `bad-data` say what is wrong, but not where.
pub fn keep(row: &Map<String, Value>, reading: Reading<'_>) -> Result<Kept> {
    unknown::refuse_tables(row)?;
    let Some((shape, columns)) = Columns::new(row, reading.names).shape(reading.pairs) else {
        return Err(unknown::reason(row, reading.names));
    };
    let mut mapping = Mapping { shape, columns };
    let kept = mapping.apply(row, reading.pairs)?;
    if kept["prompt"].is_array() && kept["pair"].is_null() {
        // Lists of messages have all that is said in them.
        mapping.columns.retain(|part, _| !["input", "context", "history"].contains(part));
    }
    let mut used = mapping.columns.clone();
    // A chat with a system's message of its own keeps that one.
    used.retain(|part, column| *part != "system" || !has_another_system(&kept, &row[column]));
    let is_unused = |name: &String| !used.values().any(|column| column == name);
    let ignored = row.iter().filter(|(name, value)| is_filled(value) && is_unused(name));
    let ignored = ignored.map(|(name, _)| name.clone()).collect();
    let asked = ["prompt", "instruction", "completion", "output", "text"];
    let empty = asked.iter().filter_map(|part| mapping.columns.get(part));
    let empty = empty.filter(|column| !is_filled(&row[*column])).cloned().collect();
    Ok(Kept { row: kept, mapping, ignored, empty })
}

fn has_another_system(kept: &Value, system: &Value) -> bool {
    ["messages", "prompt"].iter().any(|part| {
        let first = &kept[part][0];
        first["role"] == "system" && first["content"] != *system
    })
}

impl Mapping {
    fn apply(&self, row: &Map<String, Value>, pairs: Pairs) -> Result<Value> {
        let get = |part: &'static str| match self.columns.get(part) {
            Some(column) => (column.as_str(), &row[column]),
            None => (part, &Value::Null),
        };
        let system = get("system");
        Ok(match self.shape {
            Shape::Text => {
                let (column, text) = get("text");
                json!({"text": string(column, text)?})
            }
            Shape::Messages => {
                let (column, value) = get("messages");
                json!({"messages": with_system(system, chat(column, value)?)?})
            }
            Shape::Sharegpt => {
                let (column, value) = get("conversations");
                json!({"messages": with_system(system, chat(column, value)?)?})
            }
            Shape::Alpaca => self.pair(row, get("instruction"), get("output"), pairs)?,
            Shape::PromptCompletion | Shape::UnpairedPreference => {
                let mut kept = match (get("prompt"), get("completion")) {
                    ((asked, prompt), (answered, completion))
                        if is_listed(prompt) && is_listed(completion) =>
                    {
                        let prompt = with_system(system, chat(asked, prompt)?)?;
                        json!({"prompt": prompt, "completion": chat(answered, completion)?})
                    }
                    (asked, answered) => self.pair(row, asked, answered, pairs)?,
                };
                if self.shape == Shape::UnpairedPreference {
                    kept["label"] = is_desirable(get("label"))?.into();
                }
                kept
            }
            Shape::Preference => preference(get("prompt"), get("chosen"), get("rejected"), pairs)?,
        })
    }

    /// A question and its answer, two texts.
    fn pair(
        &self,
        row: &Map<String, Value>,
        (asked, question): (&str, &Value),
        (answered, answer): (&str, &Value),
        pairs: Pairs,
    ) -> Result<Value> {
        if question.is_array() || answer.is_array() {
            bail!(
                BadData,
                "{asked:?} and {answered:?} must be two strings or two lists of messages, but are {} and {}",
                kind(question),
                kind(answer)
            );
        }
        let (mut question, answer) = (text(asked, question)?, text(answered, answer)?);
        let part = |part| self.columns.get(part).map(|column| (column.as_str(), &row[column]));
        for (column, about) in ["input", "context"].into_iter().filter_map(part) {
            let about = text(column, about)?;
            if !about.is_empty() {
                question = format!("{question}\n\n{about}");
            }
        }
        let mut prompt = Vec::new();
        if let Some((column, turns)) = part("history").filter(|(_, turns)| is_filled(turns)) {
            let Some(turns) = turns::history(turns) else {
                bail!(BadData, "{column:?} must be a list of [question, answer] or of messages");
            };
            prompt = turns;
        }
        prompt.push(Message::new("user", &question));
        let prompt = with_system(part("system").unwrap_or(("system", &Value::Null)), prompt)?;
        let is_plain = is_plain_pair(self.shape, &self.columns);
        Ok(match pairs {
            Pairs::Auto | Pairs::Text if is_plain => {
                // TRL puts nothing between the two.
                let before = pair_text(&prompt[..prompt.len() - 1]);
                json!({"prompt": before + &question, "completion": answer})
            }
            Pairs::Text => json!({"prompt": pair_text(&prompt), "completion": answer}),
            Pairs::Auto | Pairs::Chat => {
                json!({"prompt": prompt, "completion": [Message::new("assistant", &answer)], "pair": true})
            }
        })
    }
}

/// Whether a value is a list of messages, perhaps as text, as tables hold it. Other lists as text are text, as in
/// TRL: a row may ask for JSON.
fn is_listed(value: &Value) -> bool {
    let is_chat = |text: &str| {
        text.trim_start().starts_with("[{") && (turns::is_python_chat(text) || chat("", value).is_ok())
    };
    value.is_array() || value.as_str().is_some_and(is_chat)
}

/// The columns of a row as its file gives it. What is no object is an error of code `bad-data`.
pub fn columns(raw: std::result::Result<Value, String>) -> Result<Map<String, Value>> {
    match raw.map_err(|reason| Error::new(Code::BadData, reason))? {
        Value::Object(row) => Ok(row),
        other => bail!(BadData, "a row must be an object, but is {}", kind(&other)),
    }
}

fn string<'a>(column: &str, value: &'a Value) -> Result<&'a str> {
    let wrong = || Error::new(Code::BadData, format!("{column:?} must be a string, but is {}", kind(value)));
    value.as_str().ok_or_else(wrong)
}

/// A text; numbers and booleans are what a table would hold.
fn text(column: &str, value: &Value) -> Result<String> {
    match value {
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        value => string(column, value).map(str::to_owned),
    }
}

/// Two answers, perhaps with what was asked.
fn preference(
    prompt: (&str, &Value),
    chosen: (&str, &Value),
    rejected: (&str, &Value),
    pairs: Pairs,
) -> Result<Value> {
    let mut kept = json!({"chosen": said(chosen, rejected)?, "rejected": said(rejected, chosen)?});
    match (prompt.1, chosen.1) {
        (Value::Null, _) => (),
        (Value::String(asked), Value::Array(_)) => {
            // Where both chats begin with it, it is said already.
            let first = &kept["chosen"][0];
            if *first != kept["rejected"][0] || first["role"] == "assistant" {
                kept["prompt"] = json!([Message::new("user", asked)]);
            }
        }
        (Value::String(asked), Value::String(_)) if pairs == Pairs::Chat => {
            kept["prompt"] = json!([Message::new("user", asked)]);
            for part in ["chosen", "rejected"] {
                kept[part] = json!([Message::new("assistant", kept[part].as_str().unwrap_or_default())]);
            }
        }
        _ => kept["prompt"] = said(prompt, chosen)?,
    }
    Ok(kept)
}

/// What a label says; also 1 and 0, where its column is known to be one.
fn is_desirable((column, value): (&str, &Value)) -> Result<bool> {
    let written = match value {
        Value::String(text) => text.trim().to_lowercase(),
        Value::Number(number) if number.as_f64() == Some(1.0) => "true".into(),
        Value::Number(number) if number.as_f64() == Some(0.0) => "false".into(),
        value => value.to_string(),
    };
    match written.as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => bail!(
            BadData,
            "{column:?}, which says whether the answer is a desirable one, must be true or false, but is {value}"
        ),
    }
}

/// A part that is a string or a list of messages, of the same kind as its `partner`.
fn said((column, value): (&str, &Value), (other, partner): (&str, &Value)) -> Result<Value> {
    match (value, partner) {
        (Value::String(text), Value::String(_)) => Ok(json!(text)),
        (Value::Array(_), Value::Array(_)) => Ok(json!(chat(column, value)?)),
        _ => bail!(BadData, "{column:?} and {other:?} must be two strings or two lists of messages"),
    }
}

/// A column with the system's message comes first, unless it is empty or the chat has one of its own.
fn with_system((column, system): (&str, &Value), mut chat: Vec<Message>) -> Result<Vec<Message>> {
    if !system.is_null() {
        let system = string(column, system)?;
        if !system.is_empty() && chat.first().is_none_or(|message| message.role() != "system") {
            chat.insert(0, Message::new("system", system));
        }
    }
    Ok(chat)
}
