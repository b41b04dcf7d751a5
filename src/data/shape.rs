//! The shapes that rows of training data come in, and the one form in which they are kept.
//!
//! A dataset keeps each row as TRL would have it: `{"messages"}`, `{"prompt", "completion"}`, `{"text"}` or
//! `{"prompt", "chosen", "rejected"}`. Alpaca's and ShareGPT's rows are turned into these.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::example::{Message, kind, quoted};
use crate::bail;
use crate::error::{Code, Error, Result};

/// How a row says what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// `messages`: a list of `{role, content}`.
    Messages,
    /// `prompt` and `completion`, two strings or two lists of messages.
    PromptCompletion,
    /// `text`.
    Text,
    /// `instruction`, perhaps with `input`, and `output`.
    Alpaca,
    /// `conversations`: a list of `{from, value}`.
    Sharegpt,
    /// `chosen` and `rejected`, perhaps with `prompt`.
    Preference,
}

impl Shape {
    /// In the order in which they are looked for.
    const ALL: [Shape; 6] = [
        Shape::PromptCompletion,
        Shape::Preference,
        Shape::Messages,
        Shape::Sharegpt,
        Shape::Alpaca,
        Shape::Text,
    ];

    /// The columns that a row must have, and those that it may have.
    const fn columns(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Shape::Messages => (&["messages"], &["system"]),
            Shape::PromptCompletion => (&["prompt", "completion"], &[]),
            Shape::Text => (&["text"], &[]),
            Shape::Alpaca => (&["instruction", "output"], &["input", "system"]),
            Shape::Sharegpt => (&["conversations"], &["system"]),
            Shape::Preference => (&["chosen", "rejected"], &["prompt"]),
        }
    }
}

/// Pairs of columns that say prompt and completion in other words.
const OTHER_WORDS: &[[&str; 2]] = &[
    ["question", "answer"],
    ["prompt", "response"],
    ["prompt", "answer"],
    ["query", "response"],
    ["input", "output"],
    ["instruction", "response"],
    ["question", "response"],
];

/// A shape, and the column that each of its parts is read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mapping {
    pub shape: Shape,
    pub columns: BTreeMap<&'static str, String>,
}

impl Mapping {
    /// The shape of a row by the columns it has. `names` says under which name a column stands, where it
    /// is not the usual one: `{"prompt": "Frage"}`.
    pub fn recognise(row: &Map<String, Value>, names: &BTreeMap<String, String>) -> Result<Self> {
        let is_there = |column: &str| row.get(column).is_some_and(|value| !value.is_null());
        let known = |part: &str| names.get(part).map_or_else(|| part.to_owned(), Clone::clone);
        for shape in Shape::ALL {
            let (needed, possible) = shape.columns();
            // A name that was given decides, whatever other columns the row has.
            let is_meant =
                names.keys().all(|part| needed.contains(&part.as_str()) || possible.contains(&part.as_str()));
            if is_meant && needed.iter().all(|part| is_there(&known(part))) {
                let parts = needed.iter().chain(possible.iter().filter(|part| is_there(&known(part))));
                return Ok(Mapping { shape, columns: parts.map(|&part| (part, known(part))).collect() });
            }
        }
        if names.is_empty()
            && let Some([prompt, completion]) =
                OTHER_WORDS.iter().find(|pair| pair.iter().all(|column| is_there(column)))
        {
            let columns = [("prompt", *prompt), ("completion", *completion)];
            let columns = columns.into_iter().map(|(part, column)| (part, column.to_owned())).collect();
            return Ok(Mapping { shape: Shape::PromptCompletion, columns });
        }
        if let Some((part, column)) = names.iter().find(|(_, column)| !row.contains_key(*column)) {
            bail!(
                BadData,
                "there is no column {column:?}, which was named for {part:?}; the row has {}",
                list(row)
            );
        }
        let one_of_two = [("prompt", "completion"), ("chosen", "rejected"), ("instruction", "output")];
        if let Some((has, lacks)) = one_of_two.iter().find(|(has, lacks)| is_there(has) && !is_there(lacks)) {
            bail!(BadData, "a row with {has:?} needs {lacks:?}, but has {}", list(row));
        }
        bail!(
            BadData,
            "a row needs \"messages\", \"prompt\" and \"completion\", \"text\", \"instruction\" and \"output\", \
             \"conversations\", or \"chosen\" and \"rejected\", but has {}; name the columns that stand for these",
            list(row)
        )
    }

    /// The row as it is kept. Errors of code `bad-data` say what is wrong, but not where.
    pub fn apply(&self, row: &Map<String, Value>) -> Result<Value> {
        let get = |part: &'static str| match self.columns.get(part) {
            Some(column) => (column.as_str(), &row[column]),
            None => (part, &Value::Null),
        };
        let kept = match self.shape {
            Shape::Text => {
                let (column, text) = get("text");
                json!({"text": string(column, text)?})
            }
            Shape::Messages => {
                let (column, value) = get("messages");
                json!({"messages": with_system(get("system"), messages(column, value)?)?})
            }
            Shape::Sharegpt => {
                let (column, value) = get("conversations");
                json!({"messages": with_system(get("system"), turns(column, value)?)?})
            }
            Shape::Alpaca => {
                let (column, value) = get("instruction");
                let mut asked = string(column, value)?.to_owned();
                let (column, input) = get("input");
                let input = if input.is_null() { "" } else { string(column, input)? };
                if !input.is_empty() {
                    asked = format!("{asked}\n\n{input}");
                }
                let (column, output) = get("output");
                let prompt = with_system(get("system"), vec![Message::new("user", &asked)])?;
                json!({"prompt": prompt, "completion": [Message::new("assistant", string(column, output)?)]})
            }
            Shape::PromptCompletion => {
                let (prompt, completion) = (get("prompt"), get("completion"));
                json!({"prompt": said(prompt, completion)?, "completion": said(completion, prompt)?})
            }
            Shape::Preference => {
                let (chosen, rejected) = (get("chosen"), get("rejected"));
                let mut kept =
                    json!({"chosen": said(chosen, rejected)?, "rejected": said(rejected, chosen)?});
                let prompt = get("prompt");
                if !prompt.1.is_null() {
                    kept["prompt"] = said(prompt, chosen)?;
                } else if chosen.1.is_string() {
                    bail!(BadData, "a row with {:?} that is a string needs \"prompt\"", chosen.0);
                }
                kept
            }
        };
        Ok(kept)
    }
}

/// The columns of a row as its file gives it. What is no object is an error of code `bad-data`.
pub fn columns(raw: std::result::Result<Value, String>) -> Result<Map<String, Value>> {
    match raw.map_err(|reason| Error::new(Code::BadData, reason))? {
        Value::Object(row) => Ok(row),
        other => bail!(BadData, "a row must be an object, but is {}", kind(&other)),
    }
}

fn list(row: &Map<String, Value>) -> String {
    if row.is_empty() { "nothing".into() } else { quoted(row.keys()) }
}

fn string<'a>(column: &str, value: &'a Value) -> Result<&'a str> {
    let wrong = || Error::new(Code::BadData, format!("{column:?} must be a string, but is {}", kind(value)));
    value.as_str().ok_or_else(wrong)
}

/// A part that is a string or a list of messages, of the same kind as its `partner`.
fn said((column, value): (&str, &Value), (other, partner): (&str, &Value)) -> Result<Value> {
    match (value, partner) {
        (Value::String(text), Value::String(_)) => Ok(json!(text)),
        (Value::Array(_), Value::Array(_)) => Ok(json!(messages(column, value)?)),
        _ => bail!(BadData, "{column:?} and {other:?} must be two strings or two lists of messages"),
    }
}

/// A list, or the text of one, as tables hold it.
fn items(column: &str, value: &Value) -> Result<Vec<Value>> {
    let list = match value {
        Value::Array(list) => list.clone(),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(Value::Array(list)) => list,
            _ => bail!(BadData, "{column:?} must be a list of messages, but is a string that is none"),
        },
        other => bail!(BadData, "{column:?} must be a list of messages, but is {}", kind(other)),
    };
    if list.is_empty() {
        bail!(BadData, "{column:?} is empty");
    }
    Ok(list)
}

fn each(column: &str, list: &[Value], read: impl Fn(&Value) -> Result<Message>) -> Result<Vec<Message>> {
    let item = |(index, value)| {
        let named = |error: Error| Error::new(error.code, format!("{column}[{index}] {}", error.message));
        read(value).map_err(named)
    };
    list.iter().enumerate().map(item).collect()
}

fn messages(column: &str, value: &Value) -> Result<Vec<Message>> {
    each(column, &items(column, value)?, |value| Message::from_json(&joined(value)))
}

/// A message whose content is a list of texts, as chat APIs have it, with one text.
fn joined(message: &Value) -> Value {
    let texts = message["content"].as_array().and_then(|parts| {
        let text = |part: &Value| part["text"].as_str().filter(|_| part["type"] == "text").map(str::to_owned);
        parts.iter().map(text).collect::<Option<Vec<String>>>()
    });
    let mut message = message.clone();
    if let Some(texts) = texts {
        message["content"] = Value::from(texts.concat());
    }
    message
}

/// ShareGPT's turns as messages.
fn turns(column: &str, value: &Value) -> Result<Vec<Message>> {
    each(column, &items(column, value)?, |turn| {
        let Some(fields) = turn.as_object() else {
            bail!(BadData, "must be an object, but is {}", kind(turn));
        };
        if fields.contains_key("role") {
            return Message::from_json(&joined(turn));
        }
        let field = |name: &str| match fields.get(name) {
            Some(value) => string(name, value),
            None => bail!(BadData, "has no {name:?}"),
        };
        let role = match field("from")? {
            "human" | "user" => "user",
            "gpt" | "assistant" | "model" | "chatgpt" | "bing" | "bard" => "assistant",
            "system" => "system",
            other => bail!(BadData, "is from {other:?}, but \"human\", \"gpt\" and \"system\" are known"),
        };
        Ok(Message::new(role, field("value")?))
    })
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

/// Columns of a row that say something this engine does not use, and what is told of them.
pub fn ignored_columns(row: &Map<String, Value>) -> impl Iterator<Item = &'static str> {
    ["tools", "chat_template_kwargs"]
        .into_iter()
        .filter(|name| row.get(*name).is_some_and(|value| !value.is_null() && value != &json!([])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(row: Value) -> Result<Value> {
        let row = row.as_object().expect("an object");
        Mapping::recognise(row, &BTreeMap::new())?.apply(row)
    }

    #[test]
    fn every_shape_is_recognised_and_kept_in_one_form() {
        let chat = json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]);
        for (row, expected) in [
            (json!({"messages": chat, "tools": [], "id": 3}), json!({"messages": chat})),
            (json!({"messages": chat.to_string()}), json!({"messages": chat})),
            (
                json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]}),
                json!({"messages": [{"role": "user", "content": "ab"}]}),
            ),
            (json!({"text": "a", "source": "b"}), json!({"text": "a"})),
            (json!({"prompt": "a", "completion": "b"}), json!({"prompt": "a", "completion": "b"})),
            (json!({"question": "a", "answer": "b"}), json!({"prompt": "a", "completion": "b"})),
            (
                json!({"instruction": "Add", "input": "1 2", "output": "3"}),
                json!({"prompt": [{"role": "user", "content": "Add\n\n1 2"}], "completion": [{"role": "assistant", "content": "3"}]}),
            ),
            (
                json!({"system": "Be brief", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}),
                json!({"messages": [{"role": "system", "content": "Be brief"}, chat[0], chat[1]]}),
            ),
            (
                json!({"prompt": "a", "chosen": "b", "rejected": "c"}),
                json!({"prompt": "a", "chosen": "b", "rejected": "c"}),
            ),
            (json!({"chosen": chat, "rejected": chat}), json!({"chosen": chat, "rejected": chat})),
        ] {
            assert_eq!(kept(row).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_wrong_with_a_row_is_said() {
        for (row, reason) in [
            (json!({}), "but has nothing"),
            (json!({"prompt": "a"}), "\"prompt\" needs \"completion\""),
            (json!({"prompt": "a", "completion": []}), "two strings or two lists"),
            (json!({"text": 3}), "\"text\" must be a string, but is a number"),
            (json!({"messages": []}), "\"messages\" is empty"),
            (json!({"messages": [{"role": "user"}]}), "messages[0] has no \"content\""),
            (json!({"messages": "Hi"}), "is a string that is none"),
            (json!({"conversations": [{"from": "dog", "value": "wau"}]}), "conversations[0] is from \"dog\""),
            (json!({"conversations": [{"from": "gpt"}]}), "conversations[0] has no \"value\""),
            (json!({"chosen": "a", "rejected": "b"}), "needs \"prompt\""),
            (json!({"a": "b"}), "name the columns"),
        ] {
            let error = kept(row).unwrap_err();
            assert_eq!(error.code, Code::BadData);
            assert!(error.message.contains(reason), "{error}");
        }
    }

    #[test]
    fn columns_may_have_other_names() {
        let names = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect::<BTreeMap<_, _>>()
        };
        let row = json!({"Frage": "a", "Antwort": "b", "text": "c"});
        let row = row.as_object().unwrap();
        let asked = names(&[("prompt", "Frage"), ("completion", "Antwort")]);
        let mapping = Mapping::recognise(row, &asked).unwrap();
        assert_eq!(mapping.apply(row).unwrap(), json!({"prompt": "a", "completion": "b"}));
        let error = Mapping::recognise(row, &names(&[("text", "Brief")])).unwrap_err();
        assert!(error.message.contains("no column \"Brief\""), "{error}");
    }
}
