//! The bytes of one file, which arrive in pieces, as raw rows.
//!
//! Nothing here knows what a row must have. A reader holds the row that it is in and the piece that came
//! last, whatever the size of the file, and its rows do not depend on where the pieces end.

mod json_array;
mod json_lines;
mod table;
mod text;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bail;
use crate::error::Result;

/// The most bytes that one row may take in its file. What has no row this short is not what its name says,
/// and memory must stay bounded.
const LONGEST_ROW: usize = 16 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A row as it stands in its file.
#[derive(Clone, Debug, PartialEq)]
pub struct RawRow {
    /// The line that the row begins on, or its number among the rows, from 1: see [`Format::unit`].
    pub place: u64,
    /// The row, or why it cannot be read, without its place.
    pub value: std::result::Result<Value, String>,
}

/// How a file holds its rows.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON value on each line.
    Jsonl,
    /// One JSON array, whose elements are the rows.
    Json,
    /// Fields between commas, or what [`FormatOptions::delimiter`] says, under a line of names.
    Csv,
    /// Fields between tabs under a line of names.
    Tsv,
    /// Prose, cut at blank lines.
    Text,
    /// Prose with headings and fenced code.
    Markdown,
    /// JSON lines made by a program from rows of its own, such as those of a Parquet file.
    Rows,
}

impl Format {
    /// Tells the format by the file's name and its first bytes.
    ///
    /// The extension decides, and a `.gz` behind it counts for nothing. A `.json` that begins as an object is
    /// taken for JSON lines. Where the extension says nothing, `[` is a JSON array, `{` JSON lines, and
    /// anything else text.
    pub fn detect(name: &str, head: &[u8]) -> Format {
        let name = name.to_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let head = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head).trim_ascii_start().first();
        match (extension, head) {
            ("jsonl" | "ndjson", _) | ("json", Some(b'{')) => Format::Jsonl,
            ("json", _) => Format::Json,
            ("csv", _) => Format::Csv,
            ("tsv" | "tab", _) => Format::Tsv,
            ("md" | "markdown", _) => Format::Markdown,
            ("txt", _) => Format::Text,
            (_, Some(b'[')) => Format::Json,
            (_, Some(b'{')) => Format::Jsonl,
            _ => Format::Text,
        }
    }

    /// What [`RawRow::place`] counts: `"line"` or `"row"`.
    pub fn unit(self) -> &'static str {
        match self {
            Format::Json | Format::Rows => "row",
            Format::Jsonl | Format::Csv | Format::Tsv | Format::Text | Format::Markdown => "line",
        }
    }
}

/// What a file's bytes do not say about its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FormatOptions {
    /// What stands between the fields of a CSV or TSV file, an ASCII character. Without it, it is a tab in
    /// TSV, and in CSV that of comma, semicolon and tab which cuts the header into the most fields.
    pub delimiter: Option<char>,
    /// The most characters (Unicode scalar values) of a row that is cut out of text.
    pub text_chars: usize,
}

impl Default for FormatOptions {
    fn default() -> Self {
        FormatOptions { delimiter: None, text_chars: 2000 }
    }
}

/// Reads the rows of one file.
///
/// Push a piece, take rows until there is none, push the next one. After the last piece call
/// [`Reader::finish`], and take what rows are left.
pub struct Reader {
    rows: Box<dyn Rows>,
    /// The first bytes, until there are enough to tell whether they are a byte order mark.
    head: Option<Vec<u8>>,
}

/// What each format does with the pieces, behind a byte order mark; the methods are those of [`Reader`].
trait Rows {
    fn push(&mut self, piece: &[u8]);
    fn finish(&mut self);
    fn next_row(&mut self) -> Result<Option<RawRow>>;
}

impl Reader {
    /// A reader at the start of a file. Options out of range are an error of code `bad-option`.
    pub fn new(format: Format, options: &FormatOptions) -> Result<Self> {
        if let Some(delimiter) = options.delimiter
            && (!delimiter.is_ascii() || matches!(delimiter, '"' | '\n' | '\r'))
        {
            bail!(
                BadOption,
                "delimiter must be an ASCII character other than a quote or a line end, but is {delimiter:?}"
            );
        }
        // A character takes at most four bytes.
        let most = LONGEST_ROW / 4;
        if !(1..=most).contains(&options.text_chars) {
            bail!(BadOption, "text_chars must be from 1 to {most}, but is {}", options.text_chars);
        }
        let delimiter = options.delimiter.map(|delimiter| delimiter as u8);
        let rows: Box<dyn Rows> = match format {
            Format::Jsonl | Format::Rows => Box::new(json_lines::JsonLines::new(format.unit())),
            Format::Json => Box::new(json_array::JsonArray::default()),
            Format::Csv => Box::new(table::Table::new(delimiter)),
            Format::Tsv => Box::new(table::Table::new(delimiter.or(Some(b'\t')))),
            Format::Text => Box::new(text::Text::new(options.text_chars, false)),
            Format::Markdown => Box::new(text::Text::new(options.text_chars, true)),
        };
        Ok(Reader { rows, head: Some(Vec::new()) })
    }

    /// Adds the next piece of the file.
    pub fn push(&mut self, piece: &[u8]) {
        let Some(head) = &mut self.head else { return self.rows.push(piece) };
        head.extend_from_slice(piece);
        if head.len() >= BYTE_ORDER_MARK.len() {
            self.push_head();
        }
    }

    /// Says that no more pieces follow.
    pub fn finish(&mut self) {
        self.push_head();
        self.rows.finish();
    }

    /// The next row. `None` asks for another piece or, after [`Reader::finish`], is the end of the file.
    ///
    /// An error of code `bad-data` names the place, but not the file, and says why nothing from there on can
    /// be read. The reader is of no use after it.
    pub fn next_row(&mut self) -> Result<Option<RawRow>> {
        self.rows.next_row()
    }

    fn push_head(&mut self) {
        if let Some(head) = self.head.take() {
            self.rows.push(head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&head));
        }
    }
}

/// Refuses a row, or what there is of one, that is longer than a row may be.
fn check_length(bytes: usize, unit: &str, place: u64) -> Result<()> {
    if bytes > LONGEST_ROW {
        bail!(BadData, "{unit} {place}: longer than {LONGEST_ROW} bytes");
    }
    Ok(())
}

/// Parses one JSON value. The message says where in these bytes the fault is.
fn parse_json(bytes: &[u8]) -> std::result::Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|cause| format!("not UTF-8: {cause}"))?;
    serde_json::from_str(text).map_err(|cause| {
        let whole = cause.to_string();
        let what = whole.split(" at line ").next().unwrap_or(&whole);
        // A value that is written over several lines has a line of its own to name.
        let line = if cause.line() > 1 { format!("line {} ", cause.line()) } else { String::new() };
        format!("not JSON: {what} at {line}column {}", cause.column())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::{Code, Error};

    /// Every row that the bytes give when they come in these pieces, and the error that ends them.
    pub fn read_pieces<'a>(
        format: Format,
        options: &FormatOptions,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<RawRow>, Option<Error>) {
        let mut reader = Reader::new(format, options).unwrap();
        let mut rows = Vec::new();
        let mut take = |reader: &mut Reader| {
            loop {
                match reader.next_row() {
                    Ok(Some(row)) => rows.push(row),
                    Ok(None) => return None,
                    Err(error) => return Some(error),
                }
            }
        };
        let mut error = None;
        for piece in pieces {
            reader.push(piece);
            error = take(&mut reader);
            if error.is_some() {
                return (rows, error);
            }
        }
        reader.finish();
        error = error.or_else(|| take(&mut reader));
        (rows, error)
    }

    pub fn read(format: Format, text: impl AsRef<[u8]>) -> Vec<RawRow> {
        let (rows, error) = read_pieces(format, &FormatOptions::default(), [text.as_ref()]);
        assert!(error.is_none(), "{}", error.unwrap());
        rows
    }

    /// The message of the error that reading ends with, which must be of code `bad-data`.
    pub fn failure(format: Format, text: impl AsRef<[u8]>) -> String {
        let (_, error) = read_pieces(format, &FormatOptions::default(), [text.as_ref()]);
        let error = error.expect("an error");
        assert_eq!(error.code, Code::BadData);
        error.to_string()
    }

    pub fn good(place: u64, value: Value) -> RawRow {
        RawRow { place, value: Ok(value) }
    }

    pub fn bad(place: u64, why: &str) -> RawRow {
        RawRow { place, value: Err(why.to_string()) }
    }

    #[test]
    fn a_name_and_the_first_bytes_tell_the_format() {
        for (name, head, format) in [
            ("train.jsonl", "", Format::Jsonl),
            ("a/b.c/TRAIN.NDJSON", "[", Format::Jsonl),
            ("train.json", " \n[1]", Format::Json),
            ("train.json", "\u{FEFF}\r\n{\"a\": 1}", Format::Jsonl),
            ("train.json", "", Format::Json),
            ("train.csv", "[", Format::Csv),
            ("train.tsv.gz", "", Format::Tsv),
            ("train.tab", "", Format::Tsv),
            ("notes.txt", "{", Format::Text),
            ("notes.md", "", Format::Markdown),
            ("notes.MARKDOWN.GZ", "", Format::Markdown),
            ("part-0001", "[{", Format::Json),
            ("part.0001", "{", Format::Jsonl),
            ("folder.csv/README", "Once", Format::Text),
            ("", "", Format::Text),
        ] {
            assert_eq!(Format::detect(name, head.as_bytes()), format, "{name} {head:?}");
        }
    }

    #[test]
    fn options_out_of_range_are_refused() {
        let refused = |delimiter, text_chars| {
            let options = FormatOptions { delimiter, text_chars };
            let error = Reader::new(Format::Csv, &options).err().expect("an error");
            assert_eq!(error.code, Code::BadOption);
            error.to_string()
        };
        assert!(refused(Some('→'), 1).contains("'→'"));
        assert!(refused(Some('"'), 1).contains("delimiter"));
        assert!(refused(None, 0).contains("text_chars must be from 1 to 4194304, but is 0"));
        assert!(refused(None, 4194305).contains("text_chars"));
        let unknown = serde_json::from_str::<FormatOptions>(r#"{"delimeter": ";"}"#);
        assert!(unknown.unwrap_err().to_string().contains("delimeter"));
        let options: FormatOptions = serde_json::from_str(r#"{"delimiter": ";"}"#).unwrap();
        assert_eq!((options.delimiter, options.text_chars), (Some(';'), 2000));
    }

    /// Texts dense in what the formats give a meaning to.
    fn file() -> impl Strategy<Value = Vec<u8>> {
        let part = prop::sample::select(vec![
            "\n",
            "\r\n",
            "\n\n",
            "a",
            "é",
            "🎉 ",
            ",",
            ";",
            "\t",
            "\"",
            "\\",
            "[",
            "]",
            "{",
            "}",
            "1",
            "a,b\n",
            "{\"a\": \"x\"}",
            "```\n",
            "# a\n",
            ". ",
            "。",
            "  ",
        ]);
        let parts = prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat().into_bytes());
        let head = prop::sample::select(vec!["", "\u{FEFF}", "[", "\u{FEFF}[", "a,b\n", "a;b\r\n"]);
        let broken = prop::option::weighted(0.2, any::<prop::sample::Index>());
        (head, parts, broken).prop_map(|(head, parts, broken)| {
            let mut bytes = [head.as_bytes(), &parts].concat();
            if let Some(place) = broken {
                bytes.insert(place.index(bytes.len() + 1), 0xFF);
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn rows_do_not_depend_on_where_the_pieces_end(
            bytes in file(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
            text_chars in 1usize..20,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort();
            let options = FormatOptions { text_chars, ..Default::default() };
            let told = |(rows, error): (Vec<RawRow>, Option<Error>)| {
                (rows, error.map(|error| error.to_string()))
            };
            for format in [
                Format::Jsonl,
                Format::Json,
                Format::Csv,
                Format::Tsv,
                Format::Text,
                Format::Markdown,
                Format::Rows,
            ] {
                let whole = told(read_pieces(format, &options, [bytes.as_slice()]));
                let pieces = cuts.windows(2).map(|edge| &bytes[edge[0]..edge[1]]);
                prop_assert_eq!(&told(read_pieces(format, &options, pieces)), &whole, "{:?}", format);
                let bytewise = told(read_pieces(format, &options, bytes.chunks(1)));
                prop_assert_eq!(&bytewise, &whole, "{:?} byte by byte", format);
            }
        }
    }
}
