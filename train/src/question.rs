//! What the model is asked before and after a run: the question of a row, or the beginning of its text.

use serde_json::Value;
use tabtune::data::example::{Message, pair_text};

/// Characters of a text that the model is given to go on from, and that are shown of a question.
const SHOWN_CHARS: usize = 200;

/// A question to the model.
pub struct Question {
    /// A chat, or text to go on from.
    pub prompt: Value,
    /// What is asked of a model without chat template instead, where the row says it.
    pub without_template: Option<Value>,
    /// The question for people, on one line.
    pub text: String,
}

impl Question {
    /// What a row asks, in the form in which datasets keep it; `None` for one that asks nothing.
    pub fn of(row: &Value) -> Option<Self> {
        let is_user = |message: &Value| message["role"] == "user";
        let chat = match (row["messages"].as_array(), row["prompt"].as_array()) {
            // The answers that follow are what the model should come to by itself.
            (Some(messages), _) => &messages[..=messages.iter().position(is_user)?],
            (None, Some(prompt)) => prompt,
            (None, None) => {
                let prompt = row["prompt"].as_str().or_else(|| row["text"].as_str().map(beginning))?;
                return Some(Question {
                    prompt: prompt.into(),
                    without_template: None,
                    text: on_one_line(prompt),
                });
            }
        };
        let asked = chat.iter().rfind(|message| is_user(message))?["content"].as_str().unwrap_or_default();
        let without_template = (row["pair"] == true).then(|| {
            let messages: Vec<Message> = chat.iter().flat_map(Message::from_json).collect();
            pair_text(&messages).into()
        });
        Some(Question { prompt: chat.to_vec().into(), without_template, text: on_one_line(asked) })
    }
}

/// The first half of a short text and the first words of a long one.
fn beginning(text: &str) -> &str {
    let half = text.chars().count().div_ceil(2).min(SHOWN_CHARS);
    let end = text.char_indices().nth(half).map_or(text.len(), |(index, _)| index);
    let cut = &text[..end];
    match cut.rfind(char::is_whitespace) {
        Some(space) if space > 0 && end < text.len() => &cut[..space],
        _ => cut,
    }
}

fn on_one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
