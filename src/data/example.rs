//! What a row of training data may be.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::bail;
use crate::error::Result;

/// A message of a chat: `role` and `content`, and whatever else the template may read.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Message(Map<String, Value>);

impl Message {
    pub fn new(role: &str, content: &str) -> Self {
        let fields = [("role", role), ("content", content)];
        Message(fields.into_iter().map(|(name, text)| (name.to_string(), Value::from(text))).collect())
    }

    /// Reads a message as datasets keep it: `role` and `content` are strings, and other fields are left to the
    /// chat template, as TRL leaves them. Fields that are null count as absent.
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
            match fields.get(name) {
                None => bail!(BadData, "has no {name:?}"),
                Some(value) if !value.is_string() => {
                    bail!(BadData, "has a {name:?} that must be a string, but is {}", kind(value))
                }
                Some(_) => (),
            }
        }
        Ok(Message(fields))
    }

    pub fn role(&self) -> &str {
        self.text("role")
    }

    pub fn content(&self) -> &str {
        self.text("content")
    }

    /// Every text of the message, whatever its field and however deep in it.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let mut texts = Vec::new();
        self.0.values().for_each(|value| collect_texts(value, &mut texts));
        texts.into_iter()
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A field of any kind; one that is null counts as absent.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The message with another value in a field.
    pub fn with(&self, name: &str, value: Value) -> Self {
        let mut fields = self.0.clone();
        fields.insert(name.to_owned(), value);
        Message(fields)
    }

    /// Whether the message is to be learnt. A `weight` of 0 says that it is not.
    pub fn is_learnt(&self) -> bool {
        self.field("weight").and_then(Value::as_f64) != Some(0.0)
    }
}

fn collect_texts<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        Value::Object(fields) => {
            texts.extend(fields.keys().map(String::as_str));
            fields.values().for_each(|value| collect_texts(value, texts));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => (),
    }
}

/// What comes before the answer of a pair where it is learnt as bare text: what the system says and each
/// earlier answer end in a blank line, each question in a line end.
pub fn pair_text(prompt: &[Message]) -> String {
    let end = |message: &Message| if message.role() == "user" { "\n" } else { "\n\n" };
    prompt.iter().flat_map(|message| [message.content(), end(message)]).collect()
}

/// A row to learn from, in one of the shapes that TRL's `SFTTrainer` takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Example {
    /// `{"messages": [{"role", "content"}, …]}`
    Chat(Vec<Message>),
    /// `{"prompt": "…", "completion": "…"}`
    Completion { prompt: String, completion: String },
    /// `{"prompt": [messages], "completion": [messages]}`
    ChatCompletion { prompt: Vec<Message>, completion: Vec<Message> },
    /// `{"prompt": [messages], "completion": [messages], "pair": true}`: a question and its answer, a chat
    /// where the model has a chat template and text where it has none.
    Pair { prompt: Vec<Message>, completion: Vec<Message> },
    /// `{"text": "…"}`
    Text(String),
}

impl Example {
    /// Reads a row in the form in which datasets keep it (see [`super::shape`]). Errors of code
    /// `bad-data` say what is wrong, but not where.
    pub fn from_json(row: &Value) -> Result<Self> {
        let text = |part: &str| row[part].as_str().unwrap_or_default().to_owned();
        let chat = |part: &str| -> Result<Vec<Message>> {
            row[part].as_array().into_iter().flatten().map(Message::from_json).collect()
        };
        if !row["chosen"].is_null() {
            bail!(
                BadData,
                "the row is a preference (\"chosen\" and \"rejected\"), which this training does not use"
            );
        }
        Ok(if row["messages"].is_array() {
            Example::Chat(chat("messages")?)
        } else if row["pair"] == true {
            Example::Pair { prompt: chat("prompt")?, completion: chat("completion")? }
        } else if row["prompt"].is_array() {
            Example::ChatCompletion { prompt: chat("prompt")?, completion: chat("completion")? }
        } else if row["prompt"].is_string() {
            Example::Completion { prompt: text("prompt"), completion: text("completion") }
        } else {
            Example::Text(text("text"))
        })
    }
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
