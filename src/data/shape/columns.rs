//! Which column of a row is which part of its shape.
//!
//! Names are compared without case and outer blanks, and a blank or a hyphen within is an underscore.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Pairs, Shape, turns};
use crate::bail;
use crate::error::Result;

/// A part of a row, and the names that its column may have, the likeliest first.
type Part = (&'static str, &'static [&'static str]);

const SYSTEM: Part = (
    "system",
    &["system", "system_prompt", "system_message", "system_instruction", "system_content", "sys_prompt"],
);
/// What a question is about: Alpaca's `input`, Dolly's and SQuAD's `context`, BoolQ's `passage`.
const INPUT: Part = ("input", &["input", "inputs", "context", "passage"]);
/// The same beside a question that is itself called `input`.
const CONTEXT: Part = ("context", &["context", "passage"]);
/// The turns before, as LLaMA-Factory has them.
const HISTORY: Part = ("history", &["history"]);
/// Whether the answer is a desirable one, as TRL's rows for KTO have it.
const LABEL: Part = ("label", &["label"]);
const QUESTION: Part = ("prompt", &["question", "questions"]);
const ANSWER: Part = ("completion", &["answer", "answers", "response", "output", "solution", "reply"]);
const ASKED: &[&str] = &["query", "prompt", "instruction", "problem", "request", "user_message"];
const REPLIES: &[&str] =
    &["output", "response", "completion", "solution", "answer", "reply", "target", "assistant_message"];

/// What makes a row one of a shape.
struct Form {
    shape: Shape,
    needed: &'static [Part],
    possible: &'static [Part],
}

const fn form(shape: Shape, needed: &'static [Part], possible: &'static [Part]) -> Form {
    Form { shape, needed, possible }
}

/// A pair of texts, by the names that question and answer may have.
const fn pair(parts: &'static [Part; 2], possible: &'static [Part]) -> Form {
    form(Shape::PromptCompletion, parts, possible)
}

/// In the order in which they are looked for.
const FORMS: &[Form] = &[
    form(
        Shape::UnpairedPreference,
        &[("prompt", &["prompt"]), ("completion", &["completion"]), LABEL],
        &[SYSTEM, INPUT, HISTORY],
    ),
    pair(&[("prompt", &["prompt"]), ("completion", &["completion"])], &[SYSTEM, INPUT, HISTORY]),
    form(
        Shape::Preference,
        &[("chosen", &["chosen"]), ("rejected", &["rejected"])],
        &[("prompt", &["prompt", "question", "query", "instruction"])],
    ),
    form(Shape::Messages, &[("messages", &["messages"])], &[SYSTEM]),
    form(Shape::Sharegpt, &[("conversations", &["conversations"])], &[SYSTEM]),
    form(
        Shape::Messages,
        &[(
            "messages",
            &["conversation", "chat_messages", "contents", "chat", "dialogue", "dialog", "turns"],
        )],
        &[SYSTEM],
    ),
    form(
        Shape::Alpaca,
        &[("instruction", &["instruction", "instructions"]), ("output", REPLIES)],
        &[SYSTEM, INPUT, HISTORY],
    ),
    form(Shape::Text, &[("text", &["text"])], &[]),
    pair(&[QUESTION, ANSWER], &[SYSTEM, INPUT, HISTORY]),
    pair(&[("prompt", ASKED), ("completion", REPLIES)], &[SYSTEM, INPUT, HISTORY]),
    pair(
        &[
            ("prompt", &["input", "inputs"]),
            ("completion", &["output", "outputs", "response", "answer", "target", "targets"]),
        ],
        &[SYSTEM, CONTEXT, HISTORY],
    ),
    pair(
        &[("prompt", &["user", "human"]), ("completion", &["assistant", "gpt", "bot", "chatbot", "ai"])],
        &[SYSTEM, CONTEXT, HISTORY],
    ),
    pair(&[("prompt", &["q"]), ("completion", &["a"])], &[SYSTEM, CONTEXT, HISTORY]),
    // Reached where the label's column was named: beside other words for a pair a label may mean anything.
    form(Shape::UnpairedPreference, &[QUESTION, ANSWER, LABEL], &[SYSTEM, INPUT, HISTORY]),
    form(
        Shape::UnpairedPreference,
        &[("prompt", ASKED), ("completion", REPLIES), LABEL],
        &[SYSTEM, INPUT, HISTORY],
    ),
];

/// A column's name as names are compared.
pub fn normalised(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}

/// Whether there is something in a cell.
pub fn is_filled(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// Whether the names that were given are those of parts. One that is none is an error of code `bad-option`.
pub fn check_names(names: &BTreeMap<String, String>) -> Result<()> {
    let parts = || FORMS.iter().flat_map(|form| form.needed.iter().chain(form.possible));
    if let Some(unknown) = names.keys().find(|name| !parts().any(|part| stands_for(name, part))) {
        bail!(
            BadOption,
            "import: columns.{unknown} is no part of a row; name the columns for \"prompt\" and \"completion\", \
             \"messages\" or \"text\", and perhaps \"system\" and \"input\""
        );
    }
    Ok(())
}

fn stands_for(name: &str, (part, words): &Part) -> bool {
    let name = normalised(name);
    name == *part || words.contains(&name.as_str())
}

/// The columns of a row that are not null, with the names that were given to some of them.
pub struct Columns<'a> {
    row: &'a Map<String, Value>,
    names: &'a BTreeMap<String, String>,
    /// The columns as names are compared, each with its spelling in the row.
    there: Vec<(String, &'a str)>,
}

impl<'a> Columns<'a> {
    pub fn new(row: &'a Map<String, Value>, names: &'a BTreeMap<String, String>) -> Self {
        let there = row.iter().filter(|(_, value)| !value.is_null());
        let there = there.map(|(name, _)| (normalised(name), name.as_str())).collect();
        Columns { row, names, there }
    }

    /// The shape of the row and the column of each of its parts; `None` where it has no known shape.
    pub fn shape(&self, pairs: Pairs) -> Option<(Shape, BTreeMap<&'static str, String>)> {
        FORMS.iter().find_map(|form| Some((form.shape, self.parts(form, pairs)?)))
    }

    fn parts(&self, form: &Form, pairs: Pairs) -> Option<BTreeMap<&'static str, String>> {
        let all = || form.needed.iter().chain(form.possible);
        // A name that was given decides, whatever other columns the row has.
        if !self.names.keys().all(|name| all().any(|part| stands_for(name, part))) {
            return None;
        }
        let mut found = BTreeMap::new();
        for part in form.needed {
            let column = match self.named(part, form) {
                Some(column) => self.spelt(column),
                None => self.usual(part).or_else(|| self.first(part)),
            };
            found.insert(part.0, column?);
        }
        let is_plain = pairs != Pairs::Chat && is_plain_pair(form.shape, &found);
        // TRL's own pair has no other parts; what the system says goes before it.
        for part in form.possible.iter().filter(|(part, _)| !is_plain || *part == "system") {
            let column = match self.named(part, form) {
                Some(column) => self.spelt(column),
                // What a preference answers may be a chat.
                None if part.0 == "prompt" => self.usual(part).or_else(|| self.first(part)),
                None => self.usual(part),
            };
            if let Some(column) = column.filter(|column| !found.values().any(|other| other == column)) {
                found.insert(part.0, column);
            }
        }
        Some(found)
    }

    /// The name that was given for a part.
    fn named(&self, part: &Part, form: &Form) -> Option<&String> {
        let is_of_another = |name: &str| {
            form.needed.iter().chain(form.possible).any(|(other, _)| *other != part.0 && *other == name)
        };
        let named = self.names.iter().find(|(name, _)| {
            normalised(name) == part.0 || stands_for(name, part) && !is_of_another(&normalised(name))
        });
        named.map(|(_, column)| column)
    }

    /// The first column with a usual name of the part whose value can be that part, rather one that says
    /// something.
    fn usual(&self, (part, words): &Part) -> Option<String> {
        let fitting =
            || words.iter().filter_map(|name| self.spelt(name)).filter(|name| fits(part, &self.row[name]));
        fitting().find(|name| is_filled(&self.row[name])).or_else(|| fitting().next())
    }

    /// The first column with a usual name of the part, for a message that says what is wrong with its value.
    fn first(&self, (part, words): &Part) -> Option<String> {
        // A column called "chat" or "turns" that holds no chat is something else, as a label may be.
        let is_sure = *part != "label" && (*part != "messages" || words.contains(part));
        words.iter().find_map(|name| self.spelt(name)).filter(|_| is_sure)
    }

    /// The column of that name that is not null, as the row spells it.
    pub fn spelt(&self, name: &str) -> Option<String> {
        let column = self.there.iter().find(|(_, column)| *column == name).or_else(|| {
            let wanted = normalised(name);
            self.there.iter().find(|(column, _)| *column == wanted)
        })?;
        Some(column.1.to_owned())
    }
}

/// Whether the value can be that part of a row.
fn fits(part: &str, value: &Value) -> bool {
    match part {
        "messages" | "conversations" => turns::is_chat(value),
        "history" => turns::history(value).is_some(),
        "system" => value.is_string(),
        "label" => is_truth(value),
        _ => matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_)),
    }
}

/// Whether a value is true or false, perhaps as a table writes it. A number may be the class of whatever.
fn is_truth(value: &Value) -> bool {
    let is_word = |text: &str| ["true", "false"].iter().any(|word| text.trim().eq_ignore_ascii_case(word));
    value.is_boolean() || value.as_str().is_some_and(is_word)
}

/// Whether these are TRL's `prompt` and `completion` by these very names.
pub fn is_plain_pair(shape: Shape, columns: &BTreeMap<&'static str, String>) -> bool {
    matches!(shape, Shape::PromptCompletion | Shape::UnpairedPreference)
        && ["prompt", "completion"]
            .iter()
            .all(|part| columns.get(part).is_some_and(|name| normalised(name) == *part))
}
