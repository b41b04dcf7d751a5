//! A JSON value on each line.

use super::json_value::parse;
use super::{RawRow, Rows, check_length};
use crate::data::lines::Lines;
use crate::error::Result;

/// Blank lines are no rows. A line that is not JSON is a bad row. The comma behind an object is no part of it:
/// such lines were cut out of an array.
pub struct JsonLines {
    lines: Lines,
    finished: bool,
    /// What a line is called in messages. Programs write no blank lines, so their lines count their rows.
    unit: &'static str,
}

impl JsonLines {
    pub fn new(unit: &'static str) -> Self {
        JsonLines { lines: Lines::default(), finished: false, unit }
    }
}

impl Rows for JsonLines {
    fn push(&mut self, piece: &[u8]) {
        self.lines.push(piece);
    }

    fn finish(&mut self) {
        self.finished = true;
    }

    fn next_row(&mut self) -> Result<Option<RawRow>> {
        loop {
            let next = match self.lines.next_line() {
                None if self.finished => self.lines.last_line(),
                next => next,
            };
            let Some((place, line)) = next else {
                check_length(self.lines.pending(), self.unit, self.lines.pending_number())?;
                return Ok(None);
            };
            check_length(line.len(), self.unit, place)?;
            if !line.trim_ascii().is_empty() {
                return Ok(Some(RawRow { place, value: parse(object_in(line)) }));
            }
        }
    }
}

/// The line without a comma behind its object, and without a byte order mark, which stands where files that have
/// one were joined.
fn object_in(line: &[u8]) -> &[u8] {
    let line = line.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(line).trim_ascii_end();
    let object = line.strip_suffix(b",").filter(|object| object.trim_ascii_end().ends_with(b"}"));
    object.unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::data::formats::tests::{bad, failure, good, read};
    use crate::data::formats::{Format, LONGEST_ROW};

    #[test]
    fn each_line_is_a_row_and_blank_ones_are_none() {
        let text = "\u{FEFF}{\"a\": 1}\r\n\n \t\n[2]\n\"x\"";
        let rows = vec![good(1, json!({"a": 1})), good(4, json!([2])), good(5, json!("x"))];
        assert_eq!(read(Format::Jsonl, text), rows);
        assert_eq!(read(Format::Rows, text), rows);
        assert_eq!(read(Format::Jsonl, ""), []);
    }

    #[test]
    fn bad_lines_say_why_and_reading_goes_on() {
        let rows = read(Format::Jsonl, "{\"a\" 1}\n{\"a\"\n1 2\n3");
        let expected = [
            bad(1, "not JSON: expected `:` at column 6"),
            bad(2, "not JSON: EOF while parsing an object at column 4"),
            bad(3, "not JSON: trailing characters at column 3"),
            good(4, json!(3)),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_comma_behind_an_object_and_a_mark_before_it_are_left_out() {
        let rows = read(Format::Jsonl, "{\"a\": \"1,\"},\r\n{\"a\": 2} , \n\u{FEFF}{\"a\": 3}\n4,\n");
        let objects = [good(1, json!({"a": "1,"})), good(2, json!({"a": 2})), good(3, json!({"a": 3}))];
        assert_eq!(rows[..3], objects);
        assert_eq!(rows[3], bad(4, "not JSON: trailing characters at column 2"));
    }

    #[test]
    fn a_line_without_end_is_an_error() {
        let text = format!("1\n{}", " ".repeat(LONGEST_ROW + 1));
        assert_eq!(failure(Format::Jsonl, &text), "line 2: longer than 16777216 bytes");
        assert_eq!(failure(Format::Rows, text + "\n"), "row 2: longer than 16777216 bytes");
    }
}
