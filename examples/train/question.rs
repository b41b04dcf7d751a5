//! What the model is asked before and after a run: the question of a row, or the beginning of its text.

use serde_json::Value;

/// Characters of a text that the model is given to go on from, and that are shown of a question.
const SHOWN_CHARS: usize = 200;

/// A question to the model.
pub struct Question {
    /// A chat, or text to go on from.
    pub prompt: Value,
    /// The same for people, on one line.
    pub text: String,
}

impl Question {
    /// What a row asks, in the form in which datasets keep it; `None` for one that asks nothing.
    pub fn of(row: &Value) -> Option<Self> {
        if let Some(messages) = row["messages"].as_array().or(row["prompt"].as_array()) {
            let user = messages.iter().position(|message| message["role"] == "user")?;
            let text = messages[user]["content"].as_str().unwrap_or_default();
            return Some(Question { prompt: messages[..=user].to_vec().into(), text: on_one_line(text) });
        }
        let prompt = match (row["prompt"].as_str(), row["text"].as_str()) {
            (Some(prompt), _) => prompt,
            (None, Some(text)) => beginning(text),
            (None, None) => return None,
        };
        Some(Question { prompt: prompt.into(), text: on_one_line(prompt) })
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
