//! What transformers gives a template beside Jinja's own: `tojson` and `strftime_now`.

use std::io;

use minijinja::value::{Kwargs, Tuple, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};
use serde::Serialize;

use super::methods;

/// Bytes that the format of a date may have.
const MAX_DATE: usize = 1000;
/// Spaces that JSON may be indented by.
const MAX_INDENT: usize = 64;

/// `json.dumps` with the arguments that transformers passes on: `ensure_ascii` (false unless given), `indent`,
/// `separators` and `sort_keys`. What it writes is paid for from the rendering's budget.
pub fn to_json(state: &State, value: Value, kwargs: Kwargs) -> Result<Value, Error> {
    let invalid = |what: &str| Error::new(ErrorKind::InvalidOperation, format!("tojson: {what}"));
    if value.is_undefined() {
        return Err(invalid("the value is undefined"));
    }
    let indent: Option<usize> = kwargs.get("indent")?;
    if indent.is_some_and(|indent| indent > MAX_INDENT) {
        return Err(invalid("indent is too large"));
    }
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    let (item_separator, key_separator) = match separators.as_deref() {
        None if indent.is_some() => (",", ": "),
        None => (", ", ": "),
        Some([item, key]) => (item.as_str(), key.as_str()),
        Some(_) => return Err(invalid("separators must be two strings")),
    };
    let ascii = kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    let sort_keys = kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    kwargs.assert_all_used()?;
    let formatter = PythonJson { item_separator, key_separator, indent, ascii, depth: 0, is_empty: true };
    let mut paid = Paid { state, bytes: Vec::new(), unpaid: 0, error: None };
    let mut serializer = serde_json::Serializer::with_formatter(&mut paid, formatter);
    let written = match sort_keys {
        true => serde_json::to_value(&value).and_then(|mut json| {
            json.sort_all_objects();
            json.serialize(&mut serializer)
        }),
        false => value.serialize(&mut serializer),
    };
    let failed = |cause: String| Error::new(ErrorKind::BadSerialization, cause);
    written.map_err(|cause| paid.error.take().unwrap_or_else(|| failed(cause.to_string())))?;
    String::from_utf8(paid.bytes).map(Value::from).map_err(|cause| failed(cause.to_string()))
}

/// Bytes that are paid for while they are written.
struct Paid<'a, 'b, 'c> {
    state: &'a State<'b, 'c>,
    bytes: Vec<u8>,
    unpaid: usize,
    error: Option<Error>,
}

impl io::Write for Paid<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unpaid += bytes.len();
        let fuel = self.unpaid / methods::BYTES_PER_FUEL;
        self.unpaid %= methods::BYTES_PER_FUEL;
        if let Err(error) = self.state.consume_fuel(fuel as u64) {
            self.error = Some(error);
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// JSON as Python writes it.
struct PythonJson<'a> {
    item_separator: &'a str,
    key_separator: &'a str,
    indent: Option<usize>,
    ascii: bool,
    depth: usize,
    /// Whether nothing stands yet in the list or object that was begun last.
    is_empty: bool,
}

impl PythonJson<'_> {
    fn line<W: ?Sized + io::Write>(&self, out: &mut W) -> io::Result<()> {
        match self.indent {
            Some(indent) => write!(out, "\n{:1$}", "", indent * self.depth),
            None => Ok(()),
        }
    }

    fn begin<W: ?Sized + io::Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.is_empty = true;
        out.write_all(bracket)
    }

    fn item<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.is_empty = false;
        if !first {
            out.write_all(self.item_separator.as_bytes())?;
        }
        self.line(out)
    }

    fn end<W: ?Sized + io::Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if !std::mem::replace(&mut self.is_empty, false) {
            self.line(out)?;
        }
        out.write_all(bracket)
    }
}

impl serde_json::ser::Formatter for PythonJson<'_> {
    fn begin_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(out, b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.item(out, first)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(out, b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.item(out, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(self.key_separator.as_bytes())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        if !self.ascii {
            return out.write_all(text.as_bytes());
        }
        for character in text.chars() {
            if character.is_ascii() {
                out.write_all(&[character as u8])?;
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

/// How deep what a namespace keeps may be nested.
const MAX_DEPTH: usize = 50;

/// A value as a namespace may keep it from one turn of a loop to the next: lists whole, as minijinja else joins
/// and slices them only when they are read; nothing so deep, or within itself, that reading it takes no end.
pub fn kept(state: &State, value: Value) -> Result<Value, Error> {
    keep(state, value, MAX_DEPTH)
}

fn keep(state: &State, value: Value, depth: usize) -> Result<Value, Error> {
    let Some(object) = value.as_object() else { return Ok(value) };
    let is_namespace = object.type_name().ends_with("Namespace");
    if depth == 0 || is_namespace {
        let what = "a namespace cannot keep a namespace, or values that are nested this deep";
        return Err(Error::new(ErrorKind::InvalidOperation, what));
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            let mut items = Vec::new();
            for item in value.try_iter()? {
                state.consume_fuel(1)?;
                items.push(keep(state, item, depth - 1)?);
            }
            let is_tuple = value.downcast_object_ref::<Tuple>().is_some();
            Ok(if is_tuple { Value::from(Tuple::from(items)) } else { Value::from(items) })
        }
        ValueKind::Map => {
            for key in value.try_iter()? {
                state.consume_fuel(1)?;
                keep(state, value.get_item(&key)?, depth - 1)?;
            }
            Ok(value)
        }
        _ => Ok(value),
    }
}

/// Today, as Llama's templates print it: the part of `strftime` that dates need, in UTC.
pub fn strftime_now(format: &str) -> Result<String, Error> {
    strftime(format, seconds_since_1970())
}

fn seconds_since_1970() -> u64 {
    web_time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

fn strftime(format: &str, seconds: u64) -> Result<String, Error> {
    if format.len() > MAX_DATE {
        return Err(Error::new(ErrorKind::InvalidOperation, "strftime_now: the format is too long"));
    }
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
                return Err(Error::new(ErrorKind::InvalidOperation, what));
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
}
