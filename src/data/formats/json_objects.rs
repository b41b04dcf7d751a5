//! JSON objects one behind another, each over several lines, as jq and editors write them.

use super::json_array::Nesting;
use super::json_value::parse;
use super::{RawRow, Rows, check_length};
use crate::bail;
use crate::error::Result;

/// Whether a file whose first line is this one holds such objects: the line leaves an object open and ends
/// behind a mark that asks for more. A line that was cut off elsewhere is one bad row among JSON lines.
pub fn begin_with(line: &str) -> bool {
    let line = line.trim();
    let after = |nesting: Nesting, byte: &u8| nesting.after(*byte).unwrap_or(nesting);
    let end = line.as_bytes().iter().fold(Nesting::default(), after);
    line.starts_with('{') && line.ends_with(['{', '[', ',', ':']) && end.depth > 0 && !end.in_string
}

/// Finds where an object ends by its brackets and strings alone, and leaves it to the JSON parser. So one bad
/// object does not spoil the others, unless it has brackets or quotes that do not match. Commas between objects
/// are passed over, and a line of anything else is a bad row.
#[derive(Default)]
pub struct JsonObjects {
    buffer: Vec<u8>,
    /// Where the object begins in `buffer`, or what comes before it.
    start: usize,
    /// How far `buffer` has been looked at.
    scanned: usize,
    nesting: Nesting,
    /// Line ends before `start`.
    lines: u64,
    finished: bool,
}

impl JsonObjects {
    /// The bytes of the next object or of a line that begins none. `None` asks for more.
    fn next_end(&mut self) -> Option<usize> {
        let is_object = self.buffer.get(self.start) == Some(&b'{');
        while let Some(&byte) = self.buffer.get(self.scanned) {
            self.scanned += 1;
            self.nesting = self.nesting.after(byte).unwrap_or(self.nesting);
            let is_end = if is_object { self.nesting.depth == 0 } else { byte == b'\n' };
            if is_end {
                return Some(self.scanned);
            }
        }
        (self.finished && !is_object && self.start < self.scanned).then_some(self.scanned)
    }

    /// Goes over bytes that were dealt with.
    fn advance(&mut self, end: usize) {
        self.lines += self.buffer[self.start..end].iter().filter(|&&byte| byte == b'\n').count() as u64;
        (self.start, self.scanned, self.nesting) = (end, end, Nesting::default());
    }
}

impl Rows for JsonObjects {
    fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(piece);
    }

    fn finish(&mut self) {
        self.finished = true;
    }

    fn next_row(&mut self) -> Result<Option<RawRow>> {
        if self.scanned == self.start {
            let between = |byte: &&u8| byte.is_ascii_whitespace() || **byte == b',';
            self.advance(self.start + self.buffer[self.start..].iter().take_while(between).count());
        }
        let place = self.lines + 1;
        let end = self.next_end();
        check_length(end.unwrap_or(self.scanned) - self.start, "line", place)?;
        let Some(end) = end else {
            if self.finished && self.start < self.buffer.len() {
                bail!(BadData, "line {place}: the object that begins here is never closed");
            }
            return Ok(None);
        };
        let value = parse(self.buffer[self.start..end].trim_ascii_end());
        self.advance(end);
        Ok(Some(RawRow { place, value }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::begin_with;
    use crate::data::formats::tests::{bad, failure, good, read};
    use crate::data::formats::{Format, LONGEST_ROW};

    #[test]
    fn the_first_line_tells_whether_objects_span_lines() {
        for line in ["{", " {  ", "{\"messages\": [", "{ \"a\": {\"b\": \"}\"},", "{\"a\":"] {
            assert!(begin_with(line), "{line}");
        }
        for line in ["", "[", "{}", "{\"a\": 1},", "{\"a\"", "{\"a\": \"b", "{\"a\": \"b,", "a {"] {
            assert!(!begin_with(line), "{line}");
        }
    }

    #[test]
    fn each_object_is_a_row() {
        let text = "\n{\n  \"a\": \"}\\\"\"\n}\r\n{\"a\":\n[{}]},\n\n{ \"a\": NaN }{\n}";
        let rows = [
            good(2, json!({"a": "}\""})),
            good(5, json!({"a": [{}]})),
            good(8, json!({"a": null})),
            good(8, json!({})),
        ];
        assert_eq!(read(Format::Jsonl, text), rows);
    }

    #[test]
    fn bad_objects_say_why_and_reading_goes_on() {
        let rows = read(Format::Jsonl, "{\n\"a\" 1\n}\nnonsense {\n{\"a\":\n 2}\n3");
        let expected = [
            bad(1, "not JSON: expected `:` at line 2 column 5"),
            bad(4, "not JSON: expected ident at column 2"),
            good(5, json!({"a": 2})),
            good(7, json!(3)),
        ];
        assert_eq!(rows, expected);
        let open = "{\n\"a\": 1\n}\n{\n\"a\": 2";
        assert_eq!(failure(Format::Jsonl, open), "line 4: the object that begins here is never closed");
        let long = format!("{{\n\"{}", "a".repeat(LONGEST_ROW));
        assert_eq!(failure(Format::Jsonl, long), "line 1: longer than 16777216 bytes");
    }
}
