//! Records of fields between delimiters, under a header.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use serde_json::{Map, Value};

use super::{RawRow, Rows, check_length};
use crate::bail;
use crate::error::Result;

/// What the fields of a CSV file may be cut by where the options do not say, the likeliest last.
const DELIMITERS: [u8; 3] = *b"\t;,";

/// CSV and TSV as RFC 4180 has them: quoted fields may hold delimiters, line ends and doubled quotes. The
/// first record names the columns, and every other one becomes an object of strings.
///
/// Empty lines are no records. A record of another number of fields than the header is a bad row. A quote
/// that is never closed is an error, since it takes all that follows into one field.
pub struct Table {
    /// Without one the header decides.
    delimiter: Option<u8>,
    /// Bytes that no record has taken yet, from `start`.
    buffer: Vec<u8>,
    start: usize,
    finished: bool,
    /// The line of the byte at `start`.
    line: u64,
    /// There once the delimiter is known.
    parser: Option<Reader>,
    record: Record,
    columns: Vec<String>,
}

/// The record that is being read.
#[derive(Default)]
struct Record {
    /// The line on which it begins.
    place: u64,
    /// Bytes of the file that it has taken so far.
    taken: usize,
    /// The bytes of its fields, one behind another, without quotes. What lies past `text_len` is room.
    text: Vec<u8>,
    text_len: usize,
    /// Where each field ends in `text`. What lies past `fields` is room.
    ends: Vec<usize>,
    fields: usize,
}

impl Record {
    fn begin(&mut self, place: u64) {
        (self.place, self.text_len, self.fields) = (place, 0, 0);
    }

    /// Takes from the input what belongs to the record: how many bytes, and whether it is whole.
    fn read(&mut self, parser: &mut Reader, input: &[u8]) -> (usize, bool) {
        let mut read = 0;
        // An empty input would mean the end of the file to the parser.
        while read < input.len() {
            let (result, bytes, text, fields) = parser.read_record(
                &input[read..],
                &mut self.text[self.text_len..],
                &mut self.ends[self.fields..],
            );
            read += bytes;
            self.taken += bytes;
            self.text_len += text;
            self.fields += fields;
            match result {
                ReadRecordResult::OutputFull => self.text.resize((2 * self.text.len()).max(1024), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize((2 * self.ends.len()).max(16), 0),
                ReadRecordResult::Record => return (read, true),
                ReadRecordResult::InputEmpty | ReadRecordResult::End => break,
            }
        }
        (read, false)
    }

    fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let ends = &self.ends[..self.fields];
        std::iter::once(&0).chain(ends).zip(ends).map(|(start, end)| &self.text[*start..*end])
    }

    /// The columns that the record names as a header.
    fn names(&self) -> Result<Vec<String>> {
        let line = self.place;
        let mut names: Vec<String> = Vec::with_capacity(self.fields);
        for (number, name) in (1..).zip(self.fields()) {
            let Ok(name) = str::from_utf8(name) else {
                bail!(BadData, "line {line}: the name of column {number} is not UTF-8")
            };
            if name.is_empty() {
                bail!(BadData, "line {line}: column {number} has no name in the header");
            }
            if names.iter().any(|other| other == name) {
                bail!(BadData, "line {line}: the header has two columns {name:?}");
            }
            names.push(name.to_string());
        }
        Ok(names)
    }

    fn row(&self, columns: &[String]) -> std::result::Result<Value, String> {
        if self.fields != columns.len() {
            return Err(format!("{} fields, where the header has {}", self.fields, columns.len()));
        }
        let mut row = Map::new();
        for (name, field) in columns.iter().zip(self.fields()) {
            let text =
                str::from_utf8(field).map_err(|cause| format!("column {name:?} is not UTF-8: {cause}"))?;
            row.insert(name.clone(), text.into());
        }
        Ok(Value::Object(row))
    }
}

impl Table {
    pub fn new(delimiter: Option<u8>) -> Self {
        Table {
            delimiter,
            buffer: Vec::new(),
            start: 0,
            finished: false,
            line: 1,
            parser: None,
            record: Record::default(),
            columns: Vec::new(),
        }
    }

    /// Reads on in the record. False asks for more, or is the end of the file.
    fn next_record(&mut self) -> Result<bool> {
        if self.record.taken == 0 {
            let ends = self.buffer[self.start..].iter().take_while(|byte| is_line_end(byte));
            self.advance(ends.count());
            self.record.begin(self.line);
        }
        let rest = &self.buffer[self.start..];
        if self.parser.is_none() {
            let Some(length) = rest.iter().position(is_line_end) else {
                check_length(rest.len(), "line", self.line)?;
                return Ok(false);
            };
            let delimiter = self.delimiter.unwrap_or_else(|| likeliest_delimiter(&rest[..length]));
            self.parser = Some(ReaderBuilder::new().delimiter(delimiter).build());
        }
        let parser = self.parser.as_mut().expect("it was made above");
        let (read, whole) = self.record.read(parser, rest);
        self.advance(read);
        check_length(self.record.taken, "line", self.record.place)?;
        if !whole && self.finished && self.record.taken > 0 {
            bail!(BadData, "line {}: a quote in this record is never closed", self.record.place);
        }
        if whole {
            self.record.taken = 0;
        }
        Ok(whole)
    }

    fn advance(&mut self, bytes: usize) {
        let taken = &self.buffer[self.start..self.start + bytes];
        self.line += taken.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.start += bytes;
    }
}

impl Rows for Table {
    fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(piece);
    }

    fn finish(&mut self) {
        self.finished = true;
        // The last record may lack its line end. Where one more is not the record's end, a quote is open.
        self.push(b"\n");
    }

    fn next_row(&mut self) -> Result<Option<RawRow>> {
        while self.next_record()? {
            if self.columns.is_empty() {
                self.columns = self.record.names()?;
                continue;
            }
            return Ok(Some(RawRow { place: self.record.place, value: self.record.row(&self.columns) }));
        }
        Ok(None)
    }
}

fn is_line_end(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// The one that occurs most outside of quotes.
fn likeliest_delimiter(header: &[u8]) -> u8 {
    let mut counts = [0; DELIMITERS.len()];
    let mut quoted = false;
    for byte in header {
        if *byte == b'"' {
            quoted = !quoted;
        } else if !quoted && let Some(index) = DELIMITERS.iter().position(|delimiter| delimiter == byte) {
            counts[index] += 1;
        }
    }
    let likeliest = (0..counts.len()).max_by_key(|index| counts[*index]).expect("there are some");
    DELIMITERS[likeliest]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use crate::data::formats::tests::{bad, failure, good, read, read_pieces};
    use crate::data::formats::{Format, FormatOptions, LONGEST_ROW};

    #[test]
    fn each_record_is_an_object_of_strings() {
        let text = "\u{FEFF}\r\nprompt,completion\r\n1,\"a, \"\"b\"\"\r\nc\"\r\n\r\n,é\n\"x\",y";
        let rows = [
            good(3, json!({"prompt": "1", "completion": "a, \"b\"\r\nc"})),
            good(6, json!({"prompt": "", "completion": "é"})),
            good(7, json!({"prompt": "x", "completion": "y"})),
        ];
        assert_eq!(read(Format::Csv, text), rows);
        for no_rows in ["", "\n", "a", "a,b\n"] {
            assert_eq!(read(Format::Csv, no_rows), []);
        }
    }

    #[test]
    fn the_header_or_the_options_tell_the_delimiter() {
        let row = [good(2, json!({"a": "1", "b": "2"}))];
        assert_eq!(read(Format::Csv, "a;b\n1;2"), row);
        assert_eq!(read(Format::Csv, "a\tb\n1\t2"), row);
        assert_eq!(read(Format::Tsv, "a\tb\n1\t2"), row);
        assert_eq!(read(Format::Csv, "\"a;;\",b\n1,2"), [good(2, json!({"a;;": "1", "b": "2"}))]);
        assert_eq!(read(Format::Csv, "a;b,c\n1;2,3"), [good(2, json!({"a;b": "1;2", "c": "3"}))]);
        let options = FormatOptions { delimiter: Some('|'), ..Default::default() };
        for format in [Format::Csv, Format::Tsv] {
            assert_eq!(read_pieces(format, &options, ["a|b\n1|2".as_bytes()]).0, row);
        }
    }

    #[test]
    fn bad_records_say_why_and_reading_goes_on() {
        let rows = read(Format::Csv, b"a,b\n1\n1,2,3\n1,\"\xFF\n\"\n1,2\n");
        let expected = [
            bad(2, "1 fields, where the header has 2"),
            bad(3, "3 fields, where the header has 2"),
            bad(4, "column \"b\" is not UTF-8: invalid utf-8 sequence of 1 bytes from index 0"),
            good(6, json!({"a": "1", "b": "2"})),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_header_or_a_quote_that_spoils_the_file_is_an_error() {
        assert_eq!(failure(Format::Csv, "\na,,c\n"), "line 2: column 2 has no name in the header");
        assert_eq!(failure(Format::Csv, "a,b,a\n"), "line 1: the header has two columns \"a\"");
        assert_eq!(failure(Format::Csv, b"a,\xFF\n"), "line 1: the name of column 2 is not UTF-8");
        let open = "a,b\n1,2\n1,\"2\n3,4\n";
        assert_eq!(failure(Format::Csv, open), "line 3: a quote in this record is never closed");
        for text in ["a".repeat(LONGEST_ROW + 1), format!("a\n\"{}\"\n", "b".repeat(LONGEST_ROW))] {
            assert!(failure(Format::Csv, text).ends_with(": longer than 16777216 bytes"));
        }
    }

    proptest! {
        #[test]
        fn what_was_written_comes_back(
            records in (1usize..4).prop_flat_map(|columns| {
                let field = "([,;\t\"a\n]|\r\n|é|🎉| ){0,5}";
                prop::collection::vec(prop::collection::vec(field, columns), 0..6)
            }),
            crlf: bool,
        ) {
            let end = if crlf { "\r\n" } else { "\n" };
            let columns = records.first().map_or(1, Vec::len);
            let names: Vec<String> = (0..columns).map(|column| format!("c{column}")).collect();
            let mut text = names.join(",") + end;
            let mut expected = Vec::new();
            for record in &records {
                let place = 1 + text.matches('\n').count() as u64;
                let fields = record.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\"")));
                text += &(fields.collect::<Vec<_>>().join(",") + end);
                let row = names.iter().cloned().zip(record.iter().map(|field| json!(field))).collect();
                expected.push(good(place, serde_json::Value::Object(row)));
            }
            prop_assert_eq!(read(Format::Csv, text), expected);
        }
    }
}
