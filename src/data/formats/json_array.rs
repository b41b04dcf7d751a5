//! A JSON array whose elements are the rows.

use super::json_value::parse;
use super::{RawRow, Rows, check_length};
use crate::bail;
use crate::error::Result;

/// Finds where the elements of the top-level array end, by nothing more than brackets, strings and commas,
/// and leaves each to the JSON parser. So one bad element does not spoil the others, unless it has brackets
/// or quotes that do not match.
#[derive(Default)]
pub struct JsonArray {
    buffer: Vec<u8>,
    /// Where the element begins in `buffer`, or what comes before or after the array.
    start: usize,
    /// How far `buffer` has been looked at.
    scanned: usize,
    finished: bool,
    place: Place,
    /// Elements given out so far.
    number: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Before,
    Inside(Nesting),
    After,
}

/// What surrounds a byte of an element.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Nesting {
    /// Brackets open in the element.
    pub depth: u64,
    pub in_string: bool,
    /// A backslash in front, in a string, so a quote would not end it.
    escaped: bool,
}

impl Nesting {
    /// The state after `byte`, or `None` where the element ends in front of it.
    pub fn after(self, byte: u8) -> Option<Nesting> {
        let same = Nesting { escaped: false, ..self };
        Some(match byte {
            _ if self.escaped => same,
            b'\\' if self.in_string => Nesting { escaped: true, ..self },
            b'"' => Nesting { in_string: !self.in_string, ..self },
            _ if self.in_string => self,
            b'[' | b'{' => Nesting { depth: self.depth + 1, ..self },
            b',' | b']' if self.depth == 0 => return None,
            // The parser says what is wrong with a brace that closes nothing.
            b']' | b'}' => Nesting { depth: self.depth.saturating_sub(1), ..self },
            _ => self,
        })
    }
}

impl JsonArray {
    /// Goes over what precedes the array. False asks for more.
    fn enter(&mut self) -> Result<bool> {
        self.skip_blank();
        match self.buffer.get(self.start) {
            Some(b'[') => {
                self.start += 1;
                self.scanned = self.start;
                self.place = Place::Inside(Nesting::default());
                Ok(true)
            }
            Some(_) => bail!(BadData, "row 1: the file does not begin with \"[\", so it is no JSON array"),
            None if self.finished => bail!(BadData, "row 1: the file is empty, where a JSON array should be"),
            None => Ok(false),
        }
    }

    /// The next element, from the state at `scanned`.
    fn element(&mut self, mut nesting: Nesting) -> Result<Option<RawRow>> {
        let place = self.number + 1;
        if self.scanned == self.start {
            self.skip_blank();
            self.scanned = self.start;
        }
        while let Some(byte) = self.buffer.get(self.scanned).copied() {
            let Some(after) = nesting.after(byte) else {
                let element = self.buffer[self.start..self.scanned].trim_ascii();
                check_length(self.scanned - self.start, "row", place)?;
                let is_last = byte == b']';
                // An array may hold nothing at all, but nothing may stand beside a comma.
                let row = if !element.is_empty() {
                    Some(RawRow { place, value: parse(element) })
                } else if is_last && self.number == 0 {
                    None
                } else {
                    Some(RawRow { place, value: Err("nothing stands before or after a comma".to_string()) })
                };
                self.number += u64::from(row.is_some());
                self.scanned += 1;
                self.start = self.scanned;
                self.place = if is_last { Place::After } else { Place::Inside(Nesting::default()) };
                return Ok(row);
            };
            nesting = after;
            self.scanned += 1;
        }
        self.place = Place::Inside(nesting);
        check_length(self.scanned - self.start, "row", place)?;
        if self.finished {
            bail!(BadData, "row {place}: the file ends before its JSON array does");
        }
        Ok(None)
    }

    fn leave(&mut self) -> Result<()> {
        self.skip_blank();
        if self.start < self.buffer.len() {
            bail!(
                BadData,
                "row {}: text follows the end of the JSON array; a file is one array, or has an object on each line",
                self.number + 1
            );
        }
        Ok(())
    }

    fn skip_blank(&mut self) {
        let blank = self.buffer[self.start..].iter().take_while(|byte| byte.is_ascii_whitespace());
        self.start += blank.count();
    }
}

impl Rows for JsonArray {
    fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.start);
        self.scanned = self.scanned.saturating_sub(self.start);
        self.start = 0;
        self.buffer.extend_from_slice(piece);
    }

    fn finish(&mut self) {
        self.finished = true;
    }

    fn next_row(&mut self) -> Result<Option<RawRow>> {
        if self.place == Place::Before && !self.enter()? {
            return Ok(None);
        }
        if let Place::Inside(nesting) = self.place
            && let Some(row) = self.element(nesting)?
        {
            return Ok(Some(row));
        }
        if self.place == Place::After {
            self.leave()?;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::data::formats::tests::{bad, failure, good, read};
    use crate::data::formats::{Format, LONGEST_ROW};

    #[test]
    fn each_element_is_a_row() {
        let text = "\u{FEFF}\n[ {\"a\": \"],[\\\"\"} ,\r\n[1, [2]],\"\\\\\", null\n]\n";
        let rows = [good(1, json!({"a": "],[\""})), good(2, json!([1, [2]])), good(3, json!("\\"))];
        let rows: Vec<_> = rows.into_iter().chain([good(4, json!(null))]).collect();
        assert_eq!(read(Format::Json, text), rows);
        assert_eq!(read(Format::Json, " [ ] "), []);
    }

    #[test]
    fn bad_elements_say_why_and_reading_goes_on() {
        let rows = read(Format::Json, "[{\"a\": nul},\n {\n\"b\"},,NaN, }, 1 2, 3,]");
        let expected = [
            bad(1, "not JSON: expected ident at column 10"),
            bad(2, "not JSON: expected `:` at line 2 column 4"),
            bad(3, "nothing stands before or after a comma"),
            good(4, json!(null)),
            bad(5, "not JSON: expected value at column 1"),
            bad(6, "not JSON: trailing characters at column 3"),
            good(7, json!(3)),
            bad(8, "nothing stands before or after a comma"),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_file_that_is_no_whole_array_is_an_error() {
        assert_eq!(failure(Format::Json, ""), "row 1: the file is empty, where a JSON array should be");
        assert_eq!(
            failure(Format::Json, " 1"),
            "row 1: the file does not begin with \"[\", so it is no JSON array"
        );
        for text in ["[", "[1, {\"a\": 2]", "[1, \"2]", "[1, 2"] {
            let row = if text == "[" { 1 } else { 2 };
            let message = format!("row {row}: the file ends before its JSON array does");
            assert_eq!(failure(Format::Json, text), message);
        }
        let two = failure(Format::Json, "[1] [2]");
        assert!(two.starts_with("row 2: text follows the end of the JSON array; "), "{two}");
        let text = format!("[1, \"{}", "a".repeat(LONGEST_ROW));
        assert_eq!(failure(Format::Json, text), "row 2: longer than 16777216 bytes");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[\\[\\]{},\"\\\\é🎉\n ]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[\"{\\[,a]{0,3}", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_written_comes_back(values in prop::collection::vec(value(), 0..8), pretty: bool) {
            let write = if pretty { serde_json::to_string_pretty } else { serde_json::to_string };
            let text = write(&values).unwrap();
            let rows: Vec<_> = (1..).zip(values).map(|(place, value)| good(place, value)).collect();
            prop_assert_eq!(read(Format::Json, text), rows);
        }
    }
}
