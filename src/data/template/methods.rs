//! Python's methods of strings, lists and dicts, paid for from the rendering's budget.
//!
//! minijinja charges what a method returns after it was made; what may be far larger than what went in is
//! charged here before.

use minijinja::value::{Tuple, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Bytes that one unit of fuel pays for.
pub const BYTES_PER_FUEL: usize = 64;
/// Bytes that a value in a list takes.
const VALUE_BYTES: usize = 40;

pub fn call(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let bytes = match value.as_str() {
        Some(text) => bytes_of(text, method, args)?,
        None => value.len().unwrap_or(0).saturating_mul(VALUE_BYTES),
    };
    state.consume_fuel((bytes / BYTES_PER_FUEL) as u64)?;
    match value.as_str().map(|text| more_methods(text, method, args)) {
        Some(Ok(Some(made))) => Ok(made),
        Some(Err(error)) => Err(error),
        _ => unknown_method_callback(state, value, method, args),
    }
}

/// Methods of strings that minijinja-contrib does not have. None for others.
fn more_methods(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let parts = |(before, separator, after): (&str, &str, &str)| {
        Value::from(Tuple::from([before, separator, after].map(Value::from)))
    };
    Ok(Some(match method {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "partition" => {
            let (separator,): (&str,) = from_args(args)?;
            let found = text.split_once(separator).map(|(before, after)| (before, separator, after));
            parts(found.unwrap_or((text, "", "")))
        }
        "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            let found = text.rsplit_once(separator).map(|(before, after)| (before, separator, after));
            parts(found.unwrap_or(("", "", text)))
        }
        "rsplit" => {
            let (separator, most): (Option<&str>, Option<usize>) = from_args(args)?;
            let most = most.map_or(usize::MAX, |most| most.saturating_add(1));
            let mut pieces: Vec<&str> = match separator {
                Some(separator) => text.rsplitn(most, separator).collect(),
                None if most == usize::MAX => text.split_whitespace().rev().collect(),
                None => text.trim_end().rsplitn(most, char::is_whitespace).collect(),
            };
            pieces.reverse();
            Value::from_iter(pieces)
        }
        "index" | "rindex" => {
            let (what,): (&str,) = from_args(args)?;
            let found = if method == "index" { text.find(what) } else { text.rfind(what) };
            let Some(at) = found else {
                return Err(Error::new(ErrorKind::InvalidOperation, "substring not found"));
            };
            Value::from(text[..at].chars().count())
        }
        _ => return Ok(None),
    }))
}

/// About how many bytes a method of `text` reads and makes.
fn bytes_of(text: &str, method: &str, args: &[Value]) -> Result<usize, Error> {
    let made = match method {
        "replace" => {
            let (old, new, _): (&str, &str, Option<i32>) = from_args(args)?;
            text.matches(old).count().saturating_mul(new.len())
        }
        "split" | "rsplit" => {
            let (separator, _): (Option<&str>, Option<i64>) = from_args(args)?;
            let pieces = match separator {
                Some("") => return Err(Error::new(ErrorKind::InvalidOperation, "empty separator")),
                Some(separator) => text.matches(separator).count(),
                None => text.split_whitespace().count(),
            };
            pieces.saturating_mul(VALUE_BYTES)
        }
        "splitlines" => text.lines().count().saturating_mul(VALUE_BYTES),
        "join" => {
            let (values,): (&Value,) = from_args(args)?;
            let separators = values.len().unwrap_or(0).saturating_mul(text.len());
            let texts = values.try_iter()?.filter_map(|value| Some(value.as_str()?.len()));
            separators.saturating_add(texts.fold(0, usize::saturating_add))
        }
        "format" => {
            let longest = args.iter().filter_map(|value| Some(value.as_str()?.len())).max().unwrap_or(0);
            let fields = text.matches('{').count().saturating_mul(longest.max(VALUE_BYTES));
            fields.saturating_add(widths(text, args))
        }
        _ => 0,
    };
    Ok(made.saturating_add(text.len()))
}

/// The numbers in the fields of a format, which may be widths; those of the arguments too, as a field may take
/// its width from one.
fn widths(format: &str, args: &[Value]) -> usize {
    let fields = format.split('{').skip(1).map(|field| field.split('}').next().unwrap_or(field));
    let digits = fields.flat_map(|field| field.split(|c: char| !c.is_ascii_digit()));
    let written =
        digits.filter(|digits| !digits.is_empty()).map(|digits| digits.parse().unwrap_or(usize::MAX));
    let given = args.iter().filter_map(|value| value.as_usize()).filter(|_| format.contains(":{"));
    written.chain(given).fold(0, usize::saturating_add)
}
