//! Chat templates as Hugging Face tokenizers carry them, by minijinja.
//!
//! The environment is that of `transformers.utils.chat_template_utils`: `trim_blocks` and `lstrip_blocks`,
//! loop controls, Python's string and dict methods, `raise_exception`, `strftime_now`, a `tojson` that
//! escapes no HTML, and `{% generation %}` blocks around what the assistant says.

mod continued;
mod filters;
mod marks;
mod methods;
mod rewrite;
pub mod turns;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{Environment, ErrorKind, State};

use self::marks::{FreeMarks, Marks};
use self::rewrite::rewrite;
use crate::data::example::Message;
use crate::error::{Code, Error, Result};

/// What a rendering may take, in minijinja's fuel: an instruction costs one, and so do 64 bytes of text that
/// the template makes. This is about half a second of work and at most 128 MiB of text, which no real chat comes near.
const FUEL: u64 = 2_000_000;

/// The names that reasoning goes by, in transformers' order.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// The variable that tells `generation` which characters stand for the edges of its blocks. No template can
/// name it.
const BLOCK_MARKS: &str = "block marks";

/// A compiled chat template with the special tokens it may name.
pub struct ChatTemplate {
    environment: Environment<'static>,
    special_tokens: BTreeMap<String, String>,
    has_generation_blocks: bool,
    /// The marks that the template's own text leaves free.
    free_marks: FreeMarks,
}

/// A rendered chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub text: String,
    /// What the template's generation blocks gave, in bytes of `text`.
    pub generated: Vec<Range<usize>>,
}

impl ChatTemplate {
    /// Compiles `source`. `special_tokens` are variables such as `bos_token`. A template that does not
    /// compile is an error of code `bad-model`.
    pub fn new(source: &str, special_tokens: BTreeMap<String, String>) -> Result<Self> {
        // As Jinja reads a template: every line end is "\n", in its strings too.
        let source = source.replace("\r\n", "\n").replace('\r', "\n");
        let mut free_marks = FreeMarks::default();
        for text in special_tokens.values().chain([&source]) {
            free_marks.take(text);
        }
        let (source, blocks) = rewrite(&source);
        let environment = environment(source)
            .map_err(|cause| Error::new(Code::BadModel, format!("chat_template: {}", describe(&cause))))?;
        Ok(ChatTemplate { environment, special_tokens, has_generation_blocks: blocks > 0, free_marks })
    }

    /// Whether the template says itself, by `{% generation %}`, what the assistant says.
    pub fn has_generation_blocks(&self) -> bool {
        self.has_generation_blocks
    }

    /// Whether the template's source has this word.
    pub fn names(&self, word: &str) -> bool {
        let template = self.environment.get_template("chat_template");
        template.is_ok_and(|template| template.source().contains(word))
    }

    /// `count` characters that occur neither in the template nor in `messages`.
    pub fn marks(&self, messages: &[Message], count: usize) -> Result<Marks> {
        let mut free = self.free_marks.clone();
        messages.iter().flat_map(Message::texts).for_each(|text| free.take(text));
        free.choose(count)
    }

    /// Renders `messages`, with the opening of the assistant's next turn if `add_generation_prompt`.
    ///
    /// # Errors
    ///
    /// `bad-data` with what the template says where it refuses the messages; `bad-model` where it does not
    /// come to an end within the work and memory that a rendering may take.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Rendered> {
        let marks = match self.has_generation_blocks {
            true => Some(self.marks(messages, 2)?),
            false => None,
        };
        let edges = marks.as_ref().map(|marks| String::from_iter([marks.get(0), marks.get(1)]));
        let mut variables: BTreeMap<&str, Value> = BTreeMap::new();
        variables.extend(self.special_tokens.iter().map(|(name, token)| (name.as_str(), Value::from(token))));
        variables.extend([
            ("messages", Value::from(Serde(with_reasoning_names(messages)))),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            (BLOCK_MARKS, Value::from(edges)),
        ]);
        let template = self.environment.get_template("chat_template");
        let text = template.and_then(|template| template.render(Value::from(variables))).map_err(refusal)?;
        Ok(match marks {
            Some(marks) => take_blocks(&text, &marks),
            None => Rendered { text, generated: Vec::new() },
        })
    }
}

fn environment(source: String) -> std::result::Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    environment.set_syntax(syntax.build()?);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(methods::call);
    // To minijinja none is an empty list, and strings and dicts are no sequences. To Jinja it is otherwise.
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map | ValueKind::Undefined)
    });
    environment.add_filter("tojson", filters::to_json);
    environment.add_filter("kept", filters::kept);
    environment.add_function("raise_exception", |message: String| -> std::result::Result<Value, _> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", filters::strftime_now);
    environment.add_function("generation", mark_generation);
    environment.add_template_owned("chat_template", source)?;
    Ok(environment)
}

fn refusal(cause: minijinja::Error) -> Error {
    if cause.kind() == ErrorKind::OutOfFuel {
        let place = cause.line().map_or(String::new(), |line| format!(" (line {line} of the template)"));
        return Error::new(
            Code::BadModel,
            format!(
                "the chat template takes more work or memory than a rendering may{place}: it does not come to \
                 an end, or the chat is far too long"
            ),
        );
    }
    Error::new(Code::BadData, format!("the chat template says: {}", describe(&cause)))
}

/// Whether a template that made `text` of `messages` left out something that was said in them, thoughts included.
pub fn leaves_out(messages: &[Message], text: &str) -> bool {
    let text_of = |message: &'_ Message, name: &str| message.field(name)?.as_str().map(str::to_owned);
    let is_written = |said: &str| {
        said.split("<think>").flat_map(|part| part.split("</think>")).all(|part| text.contains(part.trim()))
    };
    messages.iter().filter(|message| message.role() != "tool").any(|message| {
        let reasoning = REASONING.iter().find_map(|name| text_of(message, name));
        !is_written(message.content()) || reasoning.is_some_and(|reasoning| !is_written(&reasoning))
    })
}

/// The error with its line in the template.
fn describe(cause: &minijinja::Error) -> String {
    let what = match cause.detail() {
        Some(detail) if cause.kind() == ErrorKind::InvalidOperation => detail.to_string(),
        Some(detail) => format!("{}: {detail}", cause.kind()),
        None => cause.kind().to_string(),
    };
    cause.line().map_or(what.clone(), |line| format!("{what} (line {line} of the template)"))
}

/// Reasoning under each name that templates read, as transformers passes it: whichever of `reasoning_content`,
/// `thinking` and `reasoning` a message has becomes `reasoning_content`, and `thinking` where that is not there.
fn with_reasoning_names(messages: &[Message]) -> Cow<'_, [Message]> {
    let reasoning = |message: &Message| REASONING.iter().find_map(|name| message.field(name).cloned());
    if messages.iter().all(|message| reasoning(message).is_none()) {
        return Cow::Borrowed(messages);
    }
    let named = |message: &Message| match reasoning(message) {
        Some(text) if message.field("thinking").is_none() => {
            message.with("thinking", text.clone()).with("reasoning_content", text)
        }
        Some(text) => message.with("reasoning_content", text),
        None => message.clone(),
    };
    messages.iter().map(named).collect()
}

/// The mark at the edge of a generation block: 0 before it, 1 behind it.
fn mark_generation(state: &State, edge: usize) -> std::result::Result<String, minijinja::Error> {
    let edges = state.lookup(BLOCK_MARKS).unwrap_or_default();
    Ok(edges.as_str().and_then(|edges| edges.chars().nth(edge)).into_iter().collect())
}

fn take_blocks(marked: &str, marks: &Marks) -> Rendered {
    let (text, places) = marks.take_out(marked);
    let mut generated = Vec::new();
    let mut start = 0;
    for (mark, place) in places {
        match mark {
            0 => start = place,
            _ => generated.push(start..place),
        }
    }
    Rendered { text, generated }
}
