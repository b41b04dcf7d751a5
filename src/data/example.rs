//! What a row of training data may be.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::bail;
use crate::error::{Code, Error, Result};

/// A message of a chat: `role` and `content`, and whatever other text the template may read.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Message(Map<String, Value>);

impl Message {
    pub fn new(role: &str, content: &str) -> Self {
        let fields = [("role", role), ("content", content)];
        Message(fields.into_iter().map(|(name, text)| (name.to_string(), Value::from(text))).collect())
    }

    /// Reads a message, strictly. Fields that are null count as absent, as in transformers.
    pub fn from_json(value: &Value) -> Result<Self> {
        let Value::Object(fields) = value else {
            bail!(BadData, "must be an object, but is {}", kind(value))
        };
        let fields: Map<String, Value> = fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        for name in ["role", "content"] {
            if !fields.contains_key(name) {
                bail!(BadData, "has no {name:?}");
            }
        }
        if let Some((name, value)) = fields.iter().find(|(_, value)| !value.is_string()) {
            bail!(BadData, "has a {name:?} that must be a string, but is {}", kind(value));
        }
        Ok(Message(fields))
    }

    pub fn role(&self) -> &str {
        self.text("role")
    }

    pub fn content(&self) -> &str {
        self.text("content")
    }

    /// Every text of the message, whatever its field.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.values().filter_map(Value::as_str)
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// A row of training data, in one of the shapes TRL takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Example {
    /// `{"messages": [{"role", "content"}, …]}`
    Chat(Vec<Message>),
    /// `{"prompt": "…", "completion": "…"}`
    Completion { prompt: String, completion: String },
    /// `{"prompt": [messages], "completion": [messages]}`
    ChatCompletion { prompt: Vec<Message>, completion: Vec<Message> },
    /// `{"text": "…"}`
    Text(String),
}

impl Example {
    /// Reads one line of a JSONL file. Errors of code `bad-data` say what is wrong, but not where: the
    /// caller adds file and line.
    pub fn from_json_line(line: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(line)
            .map_err(|cause| Error::new(Code::BadData, format!("not JSON: {}", without_line(&cause))))?;
        Example::from_json(&value)
    }

    pub fn from_json(value: &Value) -> Result<Self> {
        let Value::Object(row) = value else {
            bail!(BadData, "a row must be an object, but is {}", kind(value))
        };
        if let Some(column) =
            ["tools", "chat_template_kwargs"].into_iter().find(|name| row.contains_key(*name))
        {
            bail!(BadData, "a row with {column:?} is not supported");
        }
        match (row.get("prompt"), row.get("completion"), row.get("messages"), row.get("text")) {
            (Some(Value::String(prompt)), Some(Value::String(completion)), ..) => {
                Ok(Example::Completion { prompt: prompt.clone(), completion: completion.clone() })
            }
            (Some(prompt @ Value::Array(_)), Some(completion @ Value::Array(_)), ..) => {
                Ok(Example::ChatCompletion {
                    prompt: messages("prompt", prompt)?,
                    completion: messages("completion", completion)?,
                })
            }
            (Some(_), Some(_), ..) => {
                bail!(BadData, "\"prompt\" and \"completion\" must be two strings or two lists of messages")
            }
            (Some(_), None, ..) => bail!(BadData, "a row with \"prompt\" needs \"completion\""),
            (_, _, Some(list), _) => Ok(Example::Chat(messages("messages", list)?)),
            (_, _, _, Some(Value::String(text))) => Ok(Example::Text(text.clone())),
            (_, _, _, Some(other)) => bail!(BadData, "\"text\" must be a string, but is {}", kind(other)),
            _ => bail!(
                BadData,
                "a row needs \"messages\", \"prompt\" and \"completion\", or \"text\", but has {}",
                if row.is_empty() { "nothing".into() } else { quoted(row.keys()) }
            ),
        }
    }
}

fn messages(column: &str, value: &Value) -> Result<Vec<Message>> {
    let Value::Array(list) = value else {
        bail!(BadData, "{column:?} must be a list of messages, but is {}", kind(value))
    };
    if list.is_empty() {
        bail!(BadData, "{column:?} is empty");
    }
    let read = |(index, value)| {
        Message::from_json(value)
            .map_err(|error: Error| Error::new(error.code, format!("{column}[{index}] {}", error.message)))
    };
    list.iter().enumerate().map(read).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// serde_json's message without its own "at line 1": a row is one line, and its number is the file's.
fn without_line(cause: &serde_json::Error) -> String {
    let text = cause.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    format!("{what} at column {}", cause.column())
}
