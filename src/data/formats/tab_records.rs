//! Records of fields between tabs, in which a quotation mark is mostly one of the text.

use super::table::{Record, Records};
use super::{LONGEST_ROW, check_length};
use crate::error::Result;

/// Exports of sentences quote nothing, so a mark at the start of a field belongs to the text. Spreadsheets do
/// quote fields with line ends, tabs or quotes in them. A record is read with quotes where these are closed right
/// before a tab or the line's end, and where it then has as many fields as the header; a field that holds line
/// ends and tabs as well is no quoted one, but swallowed other records. Otherwise the record is its line as it is.
pub struct TabRecords {
    /// Bytes that no record has taken yet, from `start`.
    buffer: Vec<u8>,
    start: usize,
    finished: bool,
    /// The line of the byte at `start`.
    line: u64,
}

/// What a record is if quotes count.
enum Quoted {
    Record {
        fields: Vec<String>,
        end: usize,
    },
    /// Its quotes are those of the text.
    Not,
    /// More bytes are needed to tell.
    Open,
}

impl TabRecords {
    /// Reads from line `line` of the file on.
    pub fn new(line: u64) -> Self {
        TabRecords { buffer: Vec::new(), start: 0, finished: false, line }
    }

    /// The line at `start` as it is, and where it ends. `None` where it may go on.
    fn line(&self) -> Option<(Vec<String>, usize)> {
        let rest = &self.buffer[self.start..];
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        let fields = without_return(&rest[..end]).split(|&byte| byte == b'\t');
        Some((fields.map(text).collect(), end + 1))
    }

    fn quoted(&self) -> Quoted {
        let rest = &self.buffer[self.start..];
        let (mut fields, mut at) = (Vec::new(), 0);
        loop {
            let (field, end) = if rest.get(at) == Some(&b'"') {
                match self.quoted_field(&rest[at + 1..]) {
                    Some(Some((field, length))) => (field, at + 1 + length),
                    Some(None) => return Quoted::Not,
                    None => return Quoted::Open,
                }
            } else {
                let is_end = |byte: &u8| *byte == b'\t' || *byte == b'\n';
                let Some(length) = rest[at..].iter().position(is_end) else { return Quoted::Open };
                let end = at + length;
                let field = &rest[at..end];
                (text(if rest[end] == b'\n' { without_return(field) } else { field }), end)
            };
            fields.push(field);
            at = end + 1;
            if rest[end] == b'\n' {
                return Quoted::Record { fields, end: at };
            }
        }
    }

    /// A field behind its opening quote, and how many bytes precede the tab or line end that follows it.
    /// `Some(None)` is no such field, and `None` asks for more.
    fn quoted_field(&self, rest: &[u8]) -> Option<Option<(String, usize)>> {
        let (mut field, mut has_line_end, mut has_tab) = (Vec::new(), false, false);
        let mut at = 0;
        loop {
            let byte = *rest.get(at)?;
            if byte == b'"' {
                match rest.get(at + 1)? {
                    b'"' => at += 1,
                    b'\n' => return Some(Some((text(&field), at + 1))),
                    b'\r' if *rest.get(at + 2)? == b'\n' => return Some(Some((text(&field), at + 2))),
                    b'\t' => return Some(Some((text(&field), at + 1))),
                    _ => return Some(None),
                }
            }
            has_line_end |= byte == b'\n';
            has_tab |= byte == b'\t';
            if has_line_end && has_tab {
                return Some(None);
            }
            field.push(byte);
            at += 1;
        }
    }
}

impl Records for TabRecords {
    fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(piece);
    }

    fn finish(&mut self) {
        self.finished = true;
        if self.buffer.last().is_some_and(|&byte| byte != b'\n') {
            self.buffer.push(b'\n');
        }
    }

    fn next_record(&mut self, columns: Option<usize>) -> Result<Option<Record>> {
        let place = self.line;
        let Some((fields, end)) = self.line() else {
            check_length(self.buffer.len() - self.start, "line", place)?;
            return Ok(None);
        };
        let (fields, end) = match self.quoted() {
            Quoted::Record { fields: quoted, end: quoted_end }
                if quoted_end <= LONGEST_ROW
                    && columns.is_none_or(|count| quoted.len() == count || fields.len() != count) =>
            {
                (quoted, quoted_end)
            }
            // What is longer than a row may be is no quoted field either.
            Quoted::Open if !self.finished && self.buffer.len() - self.start <= LONGEST_ROW => {
                return Ok(None);
            }
            _ => (fields, end),
        };
        check_length(end, "line", place)?;
        let taken = &self.buffer[self.start..self.start + end];
        self.line += taken.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.start += end;
        Ok(Some(Record { place, fields }))
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Cut at ASCII, text in UTF-8 stays it.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::data::formats::tests::{bad, failure, good, read};
    use crate::data::formats::{Format, LONGEST_ROW, RawRow};

    fn pairs(text: &str) -> Vec<RawRow> {
        read(Format::Tsv, format!("a\tb\n{text}"))
    }

    fn pair(place: u64, a: &str, b: &str) -> RawRow {
        good(place, json!({"a": a, "b": b}))
    }

    #[test]
    fn a_quotation_mark_is_one_of_the_text() {
        let rest = |first| vec![first, pair(3, "Merci", "Thanks"), pair(4, "Salut\"", "Hi")];
        assert_eq!(
            pairs("\"Bonjour\tHello\nMerci\tThanks\nSalut\"\tHi\n"),
            rest(pair(2, "\"Bonjour", "Hello"))
        );
        assert_eq!(
            pairs("Bonjour\t\"Hello\nMerci\tThanks\nSalut\"\tHi"),
            rest(pair(2, "Bonjour", "\"Hello"))
        );
        assert_eq!(pairs("\"Ah\" he said\tHello\n"), [pair(2, "\"Ah\" he said", "Hello")]);
        assert_eq!(pairs("Ah\t\"\n"), [pair(2, "Ah", "\"")]);
        // With quotes there would be three fields.
        assert_eq!(pairs("Oh\t\"Ah\nEh\"\tUh\n"), [pair(2, "Oh", "\"Ah"), pair(3, "Eh\"", "Uh")]);
        let line = "y".repeat(LONGEST_ROW / 8);
        let long = format!("x\t\"{}\"\tz\n", format!("{line}\n").repeat(9));
        assert_eq!(pairs(&long)[0], pair(2, "x", &format!("\"{line}")));
    }

    #[test]
    fn fields_that_are_quoted_as_spreadsheets_do_lose_their_quotes() {
        assert_eq!(pairs("\"x\"\"y\"\t\"z\"\r\n"), [pair(2, "x\"y", "z")]);
        assert_eq!(pairs("x\t\"two\nlines\"\r\nc\td\n"), [pair(2, "x", "two\nlines"), pair(4, "c", "d")]);
        assert_eq!(pairs("\"two\n\nlines\"\ty\nc\td"), [pair(2, "two\n\nlines", "y"), pair(5, "c", "d")]);
        assert_eq!(pairs("\"a\ttab\"\t\"\"\n"), [pair(2, "a\ttab", "")]);
    }

    #[test]
    fn a_record_of_too_many_fields_is_bad_and_one_too_long_an_error() {
        assert_eq!(pairs("1\t2\t3\n")[0], bad(2, "3 fields, where the header has 2"));
        let long = format!("a\tb\n1\t{}", "b".repeat(LONGEST_ROW));
        assert_eq!(failure(Format::Tsv, long), "line 2: longer than 16777216 bytes");
    }
}
