//! Options as people write them: a JSON object whose entries are taken out one by one. Whatever is left over
//! is unknown, and every refusal names the option with the part that it belongs to.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::bail;
use crate::error::{Code, Error, Result};

/// One part of a configuration, e.g. `train`.
pub struct Part {
    name: &'static str,
    values: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Part {
    /// The options in `value`; null is an empty part. Code `bad-option` for anything but an object.
    pub fn new(name: &'static str, value: &Value) -> Result<Self> {
        let values = match value {
            Value::Null => Map::new(),
            Value::Object(values) => values.clone(),
            other => bail!(BadOption, "{name} must be an object, but is {other}"),
        };
        Ok(Part { name, values, known: Vec::new() })
    }

    /// The option as people write it: with its part, but for the parts themselves.
    fn path(&self, option: &str) -> String {
        if self.name == "config" { option.to_string() } else { format!("{}.{option}", self.name) }
    }

    /// The value of `option`, or `default` where nothing is said. Code `bad-option` for one of another type.
    pub fn take<T: DeserializeOwned>(&mut self, option: &'static str, default: T) -> Result<T> {
        self.known.push(option);
        match self.values.remove(option) {
            None => Ok(default),
            Some(value) => serde_json::from_value(value.clone()).map_err(|cause| {
                Error::new(Code::BadOption, format!("{} is {value}: {cause}", self.path(option)))
            }),
        }
    }

    /// Takes an option of the Hugging Face libraries that is known here only with `values`, which ask for
    /// what is done anyway. An empty list or object stands for null. Code `bad-option` for any other value.
    pub fn only(&mut self, option: &'static str, values: &[Value]) -> Result<()> {
        let Some(value) = self.values.remove(option) else { return Ok(()) };
        let is_empty = match &value {
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            _ => false,
        };
        if values.contains(&value) || (is_empty && values.contains(&Value::Null)) {
            return Ok(());
        }
        let supported: Vec<String> = values.iter().map(Value::to_string).collect();
        bail!(
            BadOption,
            "{} is {value}, but only {} is supported",
            self.path(option),
            supported.join(" or ")
        );
    }

    /// Takes options of the Hugging Face libraries that change nothing here, whatever they say.
    pub fn ignore(&mut self, options: &[&str]) {
        for option in options {
            self.values.remove(*option);
        }
    }

    /// Ends the part. Code `bad-option`, naming an option that was left over and the one that it resembles.
    pub fn finish(self) -> Result<()> {
        self.finish_with(|_| None)
    }

    /// As [`Part::finish`]; `hint` may know better than the part what to do about a name that it lacks.
    pub fn finish_with(self, hint: impl Fn(&str) -> Option<String>) -> Result<()> {
        let Some(unknown) = self.values.keys().next() else { return Ok(()) };
        let resembled = || {
            let nearest = nearest(unknown, &self.known)?;
            Some(format!("did you mean {}?", self.path(nearest)))
        };
        let hint = hint(unknown).or_else(resembled).map_or(String::new(), |hint| format!("; {hint}"));
        bail!(BadOption, "{} is not an option{hint}", self.path(unknown));
    }
}

/// The one of `names` that `unknown` was probably meant for.
fn nearest<'a>(unknown: &str, names: &[&'a str]) -> Option<&'a str> {
    let typed = names.iter().min_by_key(|name| edit_distance(name, unknown));
    let typed = typed.filter(|name| edit_distance(name, unknown) <= name.len().div_ceil(3));
    // "alpha" is short for "lora_alpha".
    let is_short = |name: &&&str| name.split('_').next_back() == Some(unknown);
    typed.or_else(|| names.iter().find(is_short)).copied()
}

/// Levenshtein's distance in bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
