//! Tables: records of fields under a header.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::csv_records::CsvRecords;
use super::tab_records::TabRecords;
use super::{Format, FormatOptions, HEAD, RawRow, Rows, check_length};
use crate::error::Result;

/// What the fields of a CSV file may be cut by where neither the options nor the file say, the likeliest last.
const DELIMITERS: [u8; 4] = *b"|\t;,";

/// Lines that tell the delimiter where none of them is a header.
const SAMPLE_LINES: usize = 8;

/// The fields of one record.
pub struct Record {
    /// The line on which it begins.
    pub place: u64,
    pub fields: Vec<String>,
}

/// Cuts what follows a table's first lines into records; `push` and `finish` are those of a reader of rows.
pub trait Records {
    fn push(&mut self, piece: &[u8]);
    fn finish(&mut self);
    /// The next record, of which `columns` fields are expected if that is known. `None` asks for more.
    fn next_record(&mut self, columns: Option<usize>) -> Result<Option<Record>>;
}

/// CSV, TSV and the sheets of workbooks. The first record names the columns, and every other one becomes an
/// object of strings.
///
/// Records of nothing but empty fields are none. As in pandas, a record may lack its last fields, which are null
/// then, and a name that occurs twice gets a number the second time. A column without a name is called
/// "Unnamed: 2" by its place; as the first one it is an index, whose numbers are left out.
pub struct Table {
    format: Format,
    delimiter: Option<u8>,
    has_header: bool,
    /// What has come until the delimiter is known.
    begin: Vec<u8>,
    records: Option<Box<dyn Records>>,
    finished: bool,
    /// Names of the columns, once the header was read; empty where there is none.
    names: Vec<String>,
    /// Records read so far.
    number: u64,
}

impl Table {
    pub fn new(format: Format, options: &FormatOptions) -> Self {
        let delimiter = match format {
            // The program that made it separates by commas.
            Format::Sheet => Some(b','),
            _ => options.delimiter.map(|delimiter| delimiter as u8),
        };
        Table {
            format,
            delimiter,
            has_header: options.header,
            begin: Vec::new(),
            records: None,
            finished: false,
            names: Vec::new(),
            number: 0,
        }
    }

    /// Looks at the first lines for the delimiter. False asks for more.
    fn is_begun(&mut self) -> Result<bool> {
        if self.records.is_some() {
            return Ok(true);
        }
        let blank = self.begin.iter().take_while(|byte| is_line_end(byte)).count();
        let mut line = 1 + self.begin[..blank].iter().filter(|byte| **byte == b'\n').count() as u64;
        let mut rest = &self.begin[blank..];
        let Some(first) = first_lines(rest, 1, self.finished) else {
            check_length(rest.len(), "line", line)?;
            return Ok(false);
        };
        let told = separator(first);
        if told.is_some() {
            line += 1;
            rest = &rest[first.len()..];
            rest = rest.strip_prefix(b"\r").unwrap_or(rest);
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        let sample_lines = if self.has_header { 1 } else { SAMPLE_LINES };
        let delimiter = match (self.delimiter.or(told), first_lines(rest, sample_lines, self.finished)) {
            (Some(known), _) => known,
            (None, Some(sample)) => self.likeliest_delimiter(sample),
            (None, None) if rest.len() > HEAD => self.likeliest_delimiter(&rest[..HEAD]),
            (None, None) => return Ok(false),
        };
        let mut records: Box<dyn Records> = match delimiter {
            b'\t' => Box::new(TabRecords::new(line)),
            _ => Box::new(CsvRecords::new(delimiter, line)),
        };
        records.push(rest);
        if self.finished {
            records.finish();
        }
        self.begin = Vec::new();
        self.records = Some(records);
        Ok(true)
    }

    /// What cuts these lines into fields. In TSV it is a tab unless they have none, but another delimiter.
    fn likeliest_delimiter(&self, lines: &[u8]) -> u8 {
        match self.format {
            Format::Tsv if lines.contains(&b'\t') => b'\t',
            Format::Tsv => likeliest_delimiter(lines).unwrap_or(b'\t'),
            _ => likeliest_delimiter(lines).unwrap_or(b','),
        }
    }

    fn next_record(&mut self) -> Result<Option<Record>> {
        let columns = (!self.names.is_empty()).then_some(self.names.len());
        let Some(records) = &mut self.records else { return Ok(None) };
        let Some(mut record) = records.next_record(columns)? else { return Ok(None) };
        self.number += 1;
        if self.format.unit() == "row" {
            record.place = self.number;
        }
        Ok(Some(record))
    }

    fn row(&self, fields: Vec<String>) -> std::result::Result<Value, String> {
        let count = fields.len();
        if fields.iter().skip(self.names.len()).any(|field| !field.is_empty()) {
            let hint = match self.names.len() {
                1 if self.delimiter.is_none() => "; pass the `delimiter` if it is another",
                _ => "",
            };
            return Err(format!("{count} fields, where the header has {}{hint}", self.names.len()));
        }
        let mut row = Map::new();
        let mut fields = fields.into_iter();
        for (index, name) in self.names.iter().enumerate() {
            match (fields.next(), name.as_str()) {
                (None, "") => {}
                (Some(field), "") => {
                    let is_index = index == 0 && field.bytes().all(|byte| byte.is_ascii_digit());
                    if !field.is_empty() && !is_index {
                        row.insert(format!("Unnamed: {index}"), field.into());
                    }
                }
                (field, name) => {
                    row.insert(name.to_owned(), field.map_or(Value::Null, Value::from));
                }
            }
        }
        Ok(Value::Object(row))
    }
}

impl Rows for Table {
    fn push(&mut self, piece: &[u8]) {
        match &mut self.records {
            Some(records) => records.push(piece),
            None => self.begin.extend_from_slice(piece),
        }
    }

    fn finish(&mut self) {
        self.finished = true;
        if let Some(records) = &mut self.records {
            records.finish();
        }
    }

    fn next_row(&mut self) -> Result<Option<RawRow>> {
        if !self.is_begun()? {
            return Ok(None);
        }
        while let Some(Record { place, fields }) = self.next_record()? {
            if fields.iter().all(String::is_empty) {
                continue;
            }
            if self.names.is_empty() {
                if self.has_header {
                    self.names = names_of(fields);
                    continue;
                }
                self.names = (0..fields.len()).map(|index| index.to_string()).collect();
            }
            return Ok(Some(RawRow { place, value: self.row(fields) }));
        }
        Ok(None)
    }

    fn header(&self) -> &[String] {
        if self.has_header { &self.names } else { &[] }
    }
}

/// The names in a header, without the blanks around them, each once.
fn names_of(fields: Vec<String>) -> Vec<String> {
    let (mut taken, mut repeated) = (HashSet::new(), HashMap::<String, usize>::new());
    let name_of = |field: String| {
        let name = field.trim().to_owned();
        let mut candidate = name.clone();
        while !candidate.is_empty() && !taken.insert(candidate.clone()) {
            let number = repeated.entry(name.clone()).or_default();
            *number += 1;
            candidate = format!("{name}.{number}");
        }
        candidate
    };
    fields.into_iter().map(name_of).collect()
}

/// The first `count` lines without the end of the last. `None` where they may go on.
fn first_lines(text: &[u8], count: usize, is_whole: bool) -> Option<&[u8]> {
    let ends = text.iter().enumerate().filter(|(_, byte)| is_line_end(byte));
    match ends.map(|(end, _)| end).nth(count - 1) {
        Some(end) => Some(&text[..end]),
        None => is_whole.then_some(text),
    }
}

/// The delimiter that a first line such as `sep=;` names, which spreadsheets read and write and no other
/// program takes for a row.
fn separator(line: &[u8]) -> Option<u8> {
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    match line.split_at_checked(4)? {
        (sep, [delimiter]) if sep.eq_ignore_ascii_case(b"sep=") => Some(*delimiter),
        _ => None,
    }
}

fn is_line_end(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// The one of which the line with the fewest has the most, outside of quotes; `None` where no line needs one.
fn likeliest_delimiter(lines: &[u8]) -> Option<u8> {
    let mut fewest = [usize::MAX; DELIMITERS.len()];
    let mut counts = [0; DELIMITERS.len()];
    let (mut quoted, mut length) = (false, 0);
    for byte in lines.iter().chain(b"\n") {
        length += 1;
        if *byte == b'"' {
            quoted = !quoted;
        } else if !quoted && is_line_end(byte) {
            if length > 1 {
                fewest = std::array::from_fn(|index| fewest[index].min(counts[index]));
            }
            (counts, length) = ([0; DELIMITERS.len()], 0);
        } else if !quoted && let Some(index) = DELIMITERS.iter().position(|delimiter| delimiter == byte) {
            counts[index] += 1;
        }
    }
    let counted = fewest.iter().zip(DELIMITERS).filter(|(count, _)| (1..usize::MAX).contains(*count));
    counted.max_by_key(|(count, _)| **count).map(|(_, delimiter)| delimiter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use crate::data::formats::tests::{bad, failure, good, read, read_pieces};
    use crate::data::formats::{Format, FormatOptions, LONGEST_ROW};

    #[test]
    fn many_columns_of_one_name_are_told_apart() {
        let cells = vec!["0"; 20_000].join(",");
        let rows = read(Format::Csv, format!("{cells}\n{cells}\n"));
        let names: Vec<_> = rows[0].value.as_ref().unwrap().as_object().unwrap().keys().collect();
        assert_eq!((names.len(), names[0].as_str(), names[19_999].as_str()), (20_000, "0", "0.19999"));
    }

    #[test]
    fn each_record_is_an_object_of_strings() {
        let text = "\u{FEFF}\r\nprompt,completion\r\n1,\"a, \"\"b\"\"\r\nc\"\r\n\r\n,é\n\"x\",y";
        let rows = [
            good(3, json!({"prompt": "1", "completion": "a, \"b\"\r\nc"})),
            good(6, json!({"prompt": "", "completion": "é"})),
            good(7, json!({"prompt": "x", "completion": "y"})),
        ];
        assert_eq!(read(Format::Csv, text), rows);
        for no_rows in ["", "\n", "a", "a,b\n", "sep=;", "sep=;\r\n", ",,\n"] {
            assert_eq!(read(Format::Csv, no_rows), [], "{no_rows:?}");
        }
    }

    #[test]
    fn the_header_or_the_options_tell_the_delimiter() {
        let row = [good(2, json!({"a": "1", "b": "2"}))];
        assert_eq!(read(Format::Csv, "a;b\n1;2"), row);
        assert_eq!(read(Format::Csv, "a\tb\n1\t2"), row);
        assert_eq!(read(Format::Csv, "a|b\n1|2"), row);
        assert_eq!(read(Format::Tsv, "a\tb\n1\t2"), row);
        assert_eq!(read(Format::Csv, "\"a;;\",b\n1,2"), [good(2, json!({"a;;": "1", "b": "2"}))]);
        assert_eq!(read(Format::Csv, "a;b,c\n1;2,3"), [good(2, json!({"a;b": "1;2", "c": "3"}))]);
        // A file of the wrong name.
        assert_eq!(read(Format::Tsv, "a;b\n1;2"), row);
        assert_eq!(read(Format::Tsv, "a\n1,2"), [good(2, json!({"a": "1,2"}))]);
        let options = FormatOptions { delimiter: Some('/'), ..Default::default() };
        for format in [Format::Csv, Format::Tsv] {
            assert_eq!(read_pieces(format, &options, ["a/b\n1/2".as_bytes()]).0, row);
        }
    }

    #[test]
    fn a_sep_line_tells_the_delimiter_and_is_no_header() {
        let row = [good(3, json!({"a": "1,5", "b": "2"}))];
        for text in ["sep=;\r\na;b\r\n1,5;2\r\n", "\"sep=;\"\na;b\n1,5;2", "SEP=|\na|b\n1,5|2"] {
            assert_eq!(read(Format::Csv, text), row, "{text:?}");
        }
        assert_eq!(read(Format::Csv, "sep=\t\na\tb\n1,5\t2"), row);
        assert_eq!(read(Format::Tsv, "sep=;\na;b\n1,5;2"), row);
        assert_eq!(read(Format::Csv, "sep=,b\n1,2"), [good(2, json!({"sep=": "1", "b": "2"}))]);
    }

    #[test]
    fn without_a_header_columns_have_numbers_and_all_lines_tell_the_delimiter() {
        let options = FormatOptions { header: false, ..Default::default() };
        let text = "When, if, or how?;From ten.\nWhere?;Here\n";
        let rows = [
            good(1, json!({"0": "When, if, or how?", "1": "From ten."})),
            good(2, json!({"0": "Where?", "1": "Here"})),
        ];
        let read = |format, text: &str| read_pieces(format, &options, [text.as_bytes()]).0;
        assert_eq!(read(Format::Csv, text), rows);
        assert_eq!(read(Format::Tsv, &text.replace(';', "\t")), rows);
        let many = "a,\"b\n;;\"\n".repeat(20);
        assert_eq!(read(Format::Csv, &many)[19], good(39, json!({"0": "a", "1": "b\n;;"})));
    }

    #[test]
    fn columns_without_a_name_and_names_that_occur_twice_are_as_in_pandas() {
        let rows = [good(2, json!({"a": "x", "b": "y"})), good(3, json!({"a": "z", "b": ""}))];
        assert_eq!(read(Format::Csv, ",a, b \n0,x,y\n12,z,\n"), rows);
        assert_eq!(read(Format::Csv, "a,b,,\nx,y,,\nz,\"\"\n"), rows);
        let noted = json!({"Unnamed: 0": "x1", "a": "x", "Unnamed: 2": "7"});
        assert_eq!(read(Format::Csv, ",a,\nx1,x,7\n"), [good(2, noted)]);
        let twice = json!({"a": "1", "b": "2", "a.1": "3", "a.2": "4"});
        assert_eq!(read(Format::Csv, "a,b,a,a\n1,2,3,4\n"), [good(2, twice)]);
    }

    #[test]
    fn records_of_empty_fields_are_none_and_missing_ones_are_null() {
        let rows = [good(3, json!({"a": "1", "b": null})), good(5, json!({"a": "1", "b": "2"}))];
        assert_eq!(read(Format::Csv, ",\na,b\n1\n,,,\n1,2,,\n\"\",\n"), rows);
        assert_eq!(read(Format::Tsv, "\t\na\tb\n1\n\t\t\t\n1\t2\t\t\n"), rows);
    }

    #[test]
    fn the_rows_of_a_sheet_are_counted_and_not_their_lines() {
        let text = "\"a\",\"b;c\"\n\"1\n2\",\"3\"\n\"\",\"\"\n\"4\",\"5\"\n";
        let rows = [good(2, json!({"a": "1\n2", "b;c": "3"})), good(4, json!({"a": "4", "b;c": "5"}))];
        assert_eq!(read(Format::Sheet, text), rows);
    }

    #[test]
    fn bad_records_say_why_and_reading_goes_on() {
        let rows = read(Format::Csv, "a,b\n1,2,3\n1,2\n");
        assert_eq!(rows, [bad(2, "3 fields, where the header has 2"), good(3, json!({"a": "1", "b": "2"}))]);
        let [one] = &read(Format::Csv, "a/b\n1,5/2\n")[..] else { panic!("one row") };
        let hint = "2 fields, where the header has 1; pass the `delimiter` if it is another";
        assert_eq!(one, &bad(2, hint));
    }

    #[test]
    fn a_quote_that_spoils_the_file_is_an_error() {
        let open = "a,b\n1,2\n1,\"2\n3,4\n";
        assert_eq!(failure(Format::Csv, open), "line 3: a quote in this record is never closed");
        let long = "a".repeat(LONGEST_ROW + 1);
        assert!(failure(Format::Csv, &long).ends_with(": longer than 16777216 bytes"));
        let quoted = failure(Format::Csv, format!("a\n\"{long}\"\n"));
        assert!(quoted.ends_with("bytes; perhaps a quote in it is never closed"), "{quoted}");
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
                if record.iter().any(|field| !field.is_empty()) {
                    expected.push(good(place, serde_json::Value::Object(row)));
                }
            }
            prop_assert_eq!(read(Format::Csv, text), expected);
        }
    }
}
