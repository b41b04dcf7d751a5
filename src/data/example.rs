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

/// A row to learn from, in one of the shapes that TRL's trainers take.
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
    /// `{"prompt": "…", "chosen": "…", "rejected": "…"}`, or with the prompt at the beginning of both answers.
    Preference { prompt: String, chosen: String, rejected: String },
    /// The same of messages.
    ChatPreference { prompt: Vec<Message>, chosen: Vec<Message>, rejected: Vec<Message> },
    /// A prompt and its completion with `"label"`: whether the answer is a desirable one.
    Rated { answer: Box<Example>, is_good: bool },
}

impl Example {
    /// Reads a row in the form in which datasets keep it (see [`super::shape`]). Errors of code
    /// `bad-data` say what is wrong, but not where.
    pub fn from_json(row: &Value) -> Result<Self> {
        let text = |part: &str| row[part].as_str().unwrap_or_default().to_owned();
        let chat = |part: &str| -> Result<Vec<Message>> {
            row[part].as_array().into_iter().flatten().map(Message::from_json).collect()
        };
        Ok(if let Some(is_good) = row["label"].as_bool() {
            let mut answer = row.clone();
            answer["label"].take();
            Example::Rated { answer: Box::new(Example::from_json(&answer)?), is_good }
        } else if let (Some(chosen), Some(rejected)) = (row["chosen"].as_str(), row["rejected"].as_str()) {
            match row["prompt"].as_str() {
                Some(prompt) => Example::preference(prompt, chosen, rejected),
                None => Example::with_prompt_in_both(chosen, rejected),
            }
        } else if row["chosen"].is_array() {
            let (mut chosen, mut rejected) = (chat("chosen")?, chat("rejected")?);
            let prompt = match row["prompt"].is_array() {
                true => chat("prompt")?,
                false => {
                    let shared = parting(&chosen, &rejected);
                    rejected.drain(..shared);
                    chosen.drain(..shared).collect()
                }
            };
            if prompt.is_empty() {
                bail!(
                    BadData,
                    "\"chosen\" and \"rejected\" have no message before their answers that is the same in both; begin \
                     both with what was asked, or give it as \"prompt\""
                );
            }
            Example::ChatPreference { prompt, chosen, rejected }
        } else if row["messages"].is_array() {
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

    fn preference(prompt: &str, chosen: &str, rejected: &str) -> Self {
        let [prompt, chosen, rejected] = [prompt, chosen, rejected].map(str::to_owned);
        Example::Preference { prompt, chosen, rejected }
    }

    /// Two texts that begin with their prompt. A space before the place where they part is the answers'.
    fn with_prompt_in_both(chosen: &str, rejected: &str) -> Self {
        let [first, second]: [Vec<char>; 2] = [chosen, rejected].map(|text| text.chars().collect());
        let mut shared = parting(&first, &second);
        if first.get(shared) != second.get(shared) && shared > 0 && first[shared - 1] == ' ' {
            shared -= 1;
        }
        let bytes: usize = first[..shared].iter().map(|character| character.len_utf8()).sum();
        Example::preference(&chosen[..bytes], &chosen[bytes..], &rejected[bytes..])
    }

    /// The chosen and the rejected answer of a preference, each as the completion of the prompt.
    pub fn answers(&self) -> Option<[Example; 2]> {
        match self {
            Example::Preference { prompt, chosen, rejected } => Some(
                [chosen, rejected]
                    .map(|answer| Example::Completion { prompt: prompt.clone(), completion: answer.clone() }),
            ),
            Example::ChatPreference { prompt, chosen, rejected } => Some([chosen, rejected].map(|answer| {
                Example::ChatCompletion { prompt: prompt.clone(), completion: answer.clone() }
            })),
            _ => None,
        }
    }

    /// What the row consists of, for a message.
    pub fn columns(&self) -> &'static str {
        match self {
            Example::Chat(_) => "\"messages\"",
            Example::Completion { .. } | Example::ChatCompletion { .. } | Example::Pair { .. } => {
                "\"prompt\" and \"completion\" alone"
            }
            Example::Text(_) => "\"text\"",
            Example::Preference { .. } | Example::ChatPreference { .. } => "\"chosen\" and \"rejected\"",
            Example::Rated { .. } => "\"prompt\", \"completion\" and \"label\"",
        }
    }
}

/// Where two answers part that begin with their prompt: at the first item that differs, and one before the end of the
/// shorter where none does, which leaves something to each.
fn parting<T: PartialEq>(chosen: &[T], rejected: &[T]) -> usize {
    let differing = chosen.iter().zip(rejected).position(|(a, b)| a != b);
    differing.unwrap_or(chosen.len().min(rejected.len()).saturating_sub(1))
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
