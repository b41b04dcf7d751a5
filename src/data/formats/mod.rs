//! The bytes of one file, which arrive in pieces, as raw rows.
//!
//! Nothing here knows what a row must have. A reader holds the row that it is in and the piece that came
//! last, whatever the size of the file, and its rows do not depend on where the pieces end.

mod csv_records;
mod encoding;
mod foreign;
mod format;
mod front_matter;
mod json_array;
mod json_lines;
mod json_objects;
mod json_value;
mod options;
mod tab_records;
mod table;
mod text;

use serde_json::Value;

pub use encoding::Encoding;
pub use format::Format;
pub use options::FormatOptions;

use crate::bail;
use crate::error::{Error, Result};
use encoding::Decoder;

/// The most bytes that one row may take in its file. What has no row this short is not what its name says,
/// and memory must stay bounded.
const LONGEST_ROW: usize = 16 << 20;

/// Bytes of text in which the first line must end that tells a file's format.
const HEAD: usize = 64 << 10;

/// A row as it stands in its file.
#[derive(Clone, Debug, PartialEq)]
pub struct RawRow {
    /// The line that the row begins on, or its number among the rows, from 1: see [`Format::unit`].
    pub place: u64,
    /// The row, or why it cannot be read, without its place.
    pub value: std::result::Result<Value, String>,
}

/// Reads the rows of one file.
///
/// Push a piece, take rows until there is none, push the next one. After the last piece call
/// [`Reader::finish`], and take what rows are left.
pub struct Reader {
    options: FormatOptions,
    /// The format, if the caller knows it, else the name by which it is told.
    is: Is,
    /// The first bytes, while they may be those of another program's file.
    head: Option<Vec<u8>>,
    decoder: Decoder,
    /// Text that was not passed on yet, since the format is not known.
    text: String,
    rows: Option<(Format, Box<dyn Rows>)>,
    /// Why nothing can be read behind the rows that were passed on.
    failure: Option<Error>,
}

enum Is {
    Known(Format),
    Named(String),
}

/// What each format does with the pieces, which are UTF-8 and may end within a character; the methods are those
/// of [`Reader`].
trait Rows {
    fn push(&mut self, piece: &[u8]);
    fn finish(&mut self);
    fn next_row(&mut self) -> Result<Option<RawRow>>;
    /// The names of the columns, once a table has them.
    fn header(&self) -> &[String] {
        &[]
    }
}

impl Reader {
    /// A reader at the start of a file of this format. Options out of range are an error of code `bad-option`.
    pub fn new(format: Format, options: &FormatOptions) -> Result<Self> {
        // What a program makes is in UTF-8.
        let is_made = matches!(format, Format::Rows | Format::Sheet);
        let encoding = if is_made { Some(Encoding::Utf8) } else { options.encoding };
        Reader::begin(Is::Known(format), None, encoding, options)
    }

    /// As [`Reader::new`], for a file whose name and first line tell the format.
    pub fn of_file(name: &str, options: &FormatOptions) -> Result<Self> {
        Reader::begin(Is::Named(name.to_owned()), Some(Vec::new()), options.encoding, options)
    }

    fn begin(
        is: Is,
        head: Option<Vec<u8>>,
        encoding: Option<Encoding>,
        options: &FormatOptions,
    ) -> Result<Self> {
        options.check()?;
        let (options, decoder) = (options.clone(), Decoder::new(encoding));
        Ok(Reader { options, is, head, decoder, text: String::new(), rows: None, failure: None })
    }

    /// Adds the next piece of the file.
    pub fn push(&mut self, piece: &[u8]) {
        if self.failure.is_some() {
            return;
        }
        let Some(head) = &mut self.head else { return self.decode(piece) };
        head.extend_from_slice(piece);
        if head.len() >= foreign::HEAD {
            self.judge_head();
        }
    }

    /// Says that no more pieces follow.
    pub fn finish(&mut self) {
        self.judge_head();
        if self.failure.is_some() {
            return;
        }
        self.decoder.finish(&mut self.text);
        self.note_misreading();
        self.pass_on(self.failure.is_none());
        if let Some((_, rows)) = &mut self.rows
            && self.failure.is_none()
        {
            rows.finish();
        }
    }

    /// The next row. `None` asks for another piece or, after [`Reader::finish`], is the end of the file.
    ///
    /// An error of code `bad-data` says why nothing from there on can be read, with the place but not the file.
    /// The reader is of no use after it.
    pub fn next_row(&mut self) -> Result<Option<RawRow>> {
        if let Some((_, rows)) = &mut self.rows
            && let Some(row) = rows.next_row()?
        {
            return Ok(Some(row));
        }
        self.failure.take().map_or(Ok(None), Err)
    }

    /// The format, once it is known.
    pub fn format(&self) -> Option<Format> {
        self.rows.as_ref().map(|(format, _)| *format)
    }

    /// The names of a table's columns, once they were read.
    pub fn header(&self) -> &[String] {
        self.rows.as_ref().map_or(&[], |(_, rows)| rows.header())
    }

    /// How characters are stored, once that is known.
    pub fn encoding(&self) -> Option<Encoding> {
        self.decoder.encoding()
    }

    /// Whether a piece held bytes that are no text in the file's encoding.
    pub fn is_misread(&self) -> bool {
        self.decoder.is_broken()
    }

    fn judge_head(&mut self) {
        let Some(head) = self.head.take() else { return };
        self.failure = foreign::refusal(&head);
        if self.failure.is_none() {
            self.decode(&head);
        }
    }

    fn decode(&mut self, piece: &[u8]) {
        self.decoder.push(piece, &mut self.text);
        self.note_misreading();
        self.pass_on(false);
    }

    fn note_misreading(&mut self) {
        if self.decoder.is_broken() {
            self.failure = Some(self.decoder.failure());
        }
    }

    /// Gives the text to the reader of rows, which is made once the first line is there.
    fn pass_on(&mut self, is_whole: bool) {
        if self.rows.is_none() {
            let Some(line) = first_line(&self.text, is_whole) else { return };
            let format = match &self.is {
                Is::Known(format) => *format,
                Is::Named(name) => {
                    if Format::promises_rows(name)
                        && let Some(refusal) = foreign::text_refusal(line)
                    {
                        self.failure = Some(refusal);
                        return;
                    }
                    let encoding = self.decoder.encoding().unwrap_or(Encoding::Utf8);
                    Format::detect(name, line, encoding)
                }
            };
            self.rows = Some((format, rows_of(format, line, &self.options)));
        }
        if let Some((_, rows)) = &mut self.rows {
            rows.push(self.text.as_bytes());
            self.text.clear();
        }
    }
}

/// What reads the rows of a file whose first line is `line`.
fn rows_of(format: Format, line: &str, options: &FormatOptions) -> Box<dyn Rows> {
    match format {
        Format::Jsonl if json_objects::begin_with(line) => Box::new(json_objects::JsonObjects::default()),
        Format::Jsonl | Format::Rows => Box::new(json_lines::JsonLines::new(format.unit())),
        Format::Json => Box::new(json_array::JsonArray::default()),
        Format::Csv | Format::Tsv | Format::Sheet => Box::new(table::Table::new(format, options)),
        Format::Text => Box::new(text::Text::new(options.text_chars, false)),
        Format::Markdown => Box::new(text::Text::new(options.text_chars, true)),
    }
}

/// The first line that is not blank, as far as it lies in the head; `None` as long as it may go on.
fn first_line(text: &str, is_whole: bool) -> Option<&str> {
    let head = text[..text.floor_char_boundary(HEAD)].trim_start();
    match head.split_once('\n') {
        Some((line, _)) => Some(line),
        None => (is_whole || text.len() >= HEAD).then_some(head),
    }
}

/// Refuses a row, or what there is of one, that is longer than a row may be.
fn check_length(bytes: usize, unit: &str, place: u64) -> Result<()> {
    if bytes > LONGEST_ROW {
        bail!(BadData, "{unit} {place}: longer than {LONGEST_ROW} bytes");
    }
    Ok(())
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
        read_to_end(Reader::new(format, options).unwrap(), pieces)
    }

    fn read_to_end<'a>(
        mut reader: Reader,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<RawRow>, Option<Error>) {
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
            "---\n",
            "a: b\n",
            "sep=;\n",
            "a\tb\n",
            "\"a\nb\"\t",
            "NaN",
            "{\n",
            "|",
        ]);
        let parts = prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat().into_bytes());
        let head = prop::sample::select(vec![
            "",
            "\u{FEFF}",
            "[",
            "\u{FEFF}[",
            "a,b\n",
            "a;b\r\n",
            "{\n",
            "a\tb\n",
            "PK",
        ]);
        let broken = prop::option::weighted(0.2, any::<prop::sample::Index>());
        (head, parts, broken, any::<bool>()).prop_map(|(head, parts, broken, is_wide)| {
            let mut bytes = [head.as_bytes(), &parts].concat();
            if is_wide {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                bytes = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            }
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
            header: bool,
            encoding in prop::sample::select(vec![None, None, Some(Encoding::Utf16Le), Some(Encoding::Windows1252)]),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort();
            let options = FormatOptions { text_chars, header, encoding, delimiter: None };
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
                Format::Sheet,
            ] {
                let whole = told(read_pieces(format, &options, [bytes.as_slice()]));
                let pieces = cuts.windows(2).map(|edge| &bytes[edge[0]..edge[1]]);
                prop_assert_eq!(&told(read_pieces(format, &options, pieces)), &whole, "{:?}", format);
                let bytewise = told(read_pieces(format, &options, bytes.chunks(1)));
                prop_assert_eq!(&bytewise, &whole, "{:?} byte by byte", format);
            }
            for name in ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.txt", "a.md", "a"] {
                let read = |pieces: Vec<&[u8]>| {
                    told(read_to_end(Reader::of_file(name, &options).unwrap(), pieces))
                };
                let whole = read(vec![&bytes]);
                let pieces = cuts.windows(2).map(|edge| &bytes[edge[0]..edge[1]]).collect();
                prop_assert_eq!(&read(pieces), &whole, "{}", name);
                prop_assert_eq!(&read(bytes.chunks(1).collect()), &whole, "{} byte by byte", name);
            }
        }
    }
}
