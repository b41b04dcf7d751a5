//! Chat templates as Hugging Face tokenizers carry them, by minijinja.
//!
//! The environment is that of `transformers.utils.chat_template_utils`: `trim_blocks` and `lstrip_blocks`,
//! loop controls, Python's string and dict methods, `raise_exception`, `strftime_now`, a `tojson` that
//! escapes no HTML, and `{% generation %}` blocks around what the assistant says.

use std::collections::BTreeMap;
use std::ops::Range;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, ErrorKind, State, context};
use serde::Serialize;

use crate::bail;
use crate::data::example::Message;
use crate::error::{Code, Error, Result};

/// Unicode noncharacters that stand for the edges of a generation block while a template renders: by the
/// standard (section 23.7) they never occur in text that is exchanged.
const BLOCK_START: char = '\u{FDD0}';
const BLOCK_END: char = '\u{FDD1}';

/// A compiled chat template with the special tokens it may name.
pub struct ChatTemplate {
    environment: Environment<'static>,
    special_tokens: BTreeMap<String, String>,
    has_generation_blocks: bool,
}

/// A rendered chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub text: String,
    /// What the template's generation blocks gave, in characters (code points) of `text`.
    pub generated: Vec<Range<usize>>,
}

impl ChatTemplate {
    /// Compiles `source`. `special_tokens` are variables such as `bos_token`. A template that does not
    /// compile is an error of code `bad-model`.
    pub fn new(source: &str, special_tokens: BTreeMap<String, String>) -> Result<Self> {
        let (source, blocks) = generation_blocks_as_calls(source);
        let mut environment = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        let failed = |cause| Error::new(Code::BadModel, format!("chat_template: {}", describe(&cause)));
        environment.set_syntax(syntax.build().map_err(failed)?);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", to_json);
        environment.add_function("raise_exception", |message: String| -> std::result::Result<Value, _> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", strftime_now);
        environment.add_function("generation", mark_generation);
        environment.add_template_owned("chat_template", source).map_err(failed)?;
        Ok(ChatTemplate { environment, special_tokens, has_generation_blocks: blocks > 0 })
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

    /// Renders `messages`, with the opening of the assistant's next turn if `add_generation_prompt`.
    /// What the template refuses is an error of code `bad-data`.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Rendered> {
        let reserved = |text: &str| text.contains([BLOCK_START, BLOCK_END]);
        if messages.iter().flat_map(Message::texts).any(reserved) {
            bail!(BadData, "a message contains U+FDD0 or U+FDD1, which are not characters");
        }
        let messages = Value::from(Serde(messages));
        let chat = context! { messages, add_generation_prompt, tools => (), documents => () };
        let variables = context! { ..chat, ..Value::from(Serde(&self.special_tokens)) };
        let template = self.environment.get_template("chat_template");
        let marked = template.and_then(|template| template.render(variables)).map_err(|cause| {
            Error::new(Code::BadData, format!("the chat template says: {}", describe(&cause)))
        })?;
        Ok(take_marks(&marked))
    }
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

/// Rewrites `{% generation %}…{% endgeneration %}` as a call block, which jinja has and which keeps the
/// tags' own whitespace control; transformers' extension builds the same. Returns the number of blocks too.
fn generation_blocks_as_calls(source: &str) -> (String, usize) {
    let mut rewritten = String::with_capacity(source.len());
    let mut blocks = 0;
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        rewritten.push_str(before);
        let inside = &tag[2..tag.find("%}").unwrap_or(tag.len())];
        let name = inside.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
        let replacement = match name {
            "generation" => "call generation()",
            "endgeneration" => "endcall",
            _ => {
                rewritten.push_str("{%");
                rest = &tag[2..];
                continue;
            }
        };
        blocks += usize::from(name == "generation");
        rewritten.push_str("{%");
        rewritten.push_str(&inside.replacen(name, replacement, 1));
        rest = &tag[2 + inside.len()..];
    }
    rewritten.push_str(rest);
    (rewritten, blocks)
}

fn mark_generation(state: &mut State, kwargs: Kwargs) -> std::result::Result<String, minijinja::Error> {
    let caller: Value = kwargs.get("caller")?;
    Ok(format!("{BLOCK_START}{}{BLOCK_END}", caller.call(state, &[])?))
}

fn take_marks(marked: &str) -> Rendered {
    let mut text = String::with_capacity(marked.len());
    let mut generated = Vec::new();
    let (mut position, mut start) = (0, 0);
    for character in marked.chars() {
        match character {
            BLOCK_START => start = position,
            BLOCK_END => generated.push(start..position),
            _ => {
                text.push(character);
                position += 1;
            }
        }
    }
    Rendered { text, generated }
}

/// `json.dumps(value, ensure_ascii=False, indent=indent)`: Python puts a space after commas and colons.
fn to_json(value: Value, kwargs: Kwargs) -> std::result::Result<Value, minijinja::Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    if kwargs.get::<Option<bool>>("ensure_ascii")? == Some(true) {
        let what = "tojson with ensure_ascii is not supported";
        return Err(minijinja::Error::new(ErrorKind::InvalidOperation, what));
    }
    kwargs.assert_all_used()?;
    let mut bytes = Vec::new();
    let written = match indent {
        Some(indent) => {
            let spaces = " ".repeat(indent);
            let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, PythonJson)),
    };
    let failed = |cause: String| minijinja::Error::new(ErrorKind::BadSerialization, cause);
    written.map_err(|cause| failed(cause.to_string()))?;
    String::from_utf8(bytes).map(Value::from_safe_string).map_err(|cause| failed(cause.to_string()))
}

struct PythonJson;

impl serde_json::ser::Formatter for PythonJson {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, out: &mut W) -> std::io::Result<()> {
        out.write_all(b": ")
    }
}

/// Today, as Llama's templates print it: the part of `strftime` that dates need, in UTC.
fn strftime_now(format: &str) -> std::result::Result<String, minijinja::Error> {
    strftime(format, seconds_since_1970())
}

fn seconds_since_1970() -> u64 {
    web_time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

fn strftime(format: &str, seconds: u64) -> std::result::Result<String, minijinja::Error> {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
    let (year, month, day) = civil_date(seconds / 86_400);
    let weekday = DAYS[(seconds / 86_400 % 7) as usize];
    let month_name = MONTHS[month - 1];
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        text += &match characters.next() {
            Some('Y') => year.to_string(),
            Some('y') => format!("{:02}", year % 100),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('B') => month_name.to_string(),
            Some('b') => month_name[..3].to_string(),
            Some('A') => weekday.to_string(),
            Some('a') => weekday[..3].to_string(),
            Some('H') => format!("{:02}", seconds / 3600 % 24),
            Some('M') => format!("{:02}", seconds / 60 % 60),
            Some('S') => format!("{:02}", seconds % 60),
            Some('%') => "%".to_string(),
            other => {
                let what = format!("strftime_now does not know {format:?} ({other:?})");
                return Err(minijinja::Error::new(ErrorKind::InvalidOperation, what));
            }
        };
    }
    Ok(text)
}

/// Year, month and day of a day counted from 1970-01-01, after Howard Hinnant's `civil_from_days`.
fn civil_date(days: u64) -> (u64, usize, u64) {
    // Days are counted from 0000-03-01, so that a leap day is the last of its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_python_prints_them() {
        // datetime.fromtimestamp(t, timezone.utc).strftime("%d %b %Y, %A %H:%M:%S") in Python.
        for (seconds, expected) in [
            (0, "01 Jan 1970, Thursday 00:00:00"),
            (951_782_399, "28 Feb 2000, Monday 23:59:59"),
            (951_782_400, "29 Feb 2000, Tuesday 00:00:00"),
            (1_735_689_599, "31 Dec 2024, Tuesday 23:59:59"),
            (4_107_542_400, "01 Mar 2100, Monday 00:00:00"),
        ] {
            assert_eq!(strftime("%d %b %Y, %A %H:%M:%S", seconds).unwrap(), expected);
        }
        assert!(strftime("%Q", 0).is_err());
    }

    #[test]
    fn generation_tags_keep_their_whitespace_control() {
        let (source, blocks) =
            generation_blocks_as_calls("a{%- generation +%}b{%endgeneration-%}{% if x %}{% endif %}{%");
        assert_eq!(source, "a{%- call generation() +%}b{%endcall-%}{% if x %}{% endif %}{%");
        assert_eq!(blocks, 1);
    }
}
