//! What a file seems to hold, before it is imported.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::formats::{Encoding, Format, FormatOptions, RawRow, Reader};
use super::library::{BadRow, ImportOptions};
use super::notice::Notice;
use super::shape::{Kept, Mapping, check_names, columns, keep};
use crate::error::{Context, Result};

/// What a person is told of a table whose first line was taken for its header.
pub(super) const NO_HEADER: &str =
    "the first line looks like a row and not like the names of columns; if it is one, pass header: false";

/// The first bytes of a file.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    pub bytes: &'a [u8],
    /// Whether there are no more.
    pub is_whole: bool,
}

/// The first rows of a file and how they would be read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    pub file: String,
    pub format: Format,
    /// How the rows were read here: that of the file, or a likely one where the notice "encoding" asks for it.
    pub encoding: Encoding,
    /// All columns of these rows, in the order in which they were met.
    pub columns: Vec<String>,
    /// How the first row would be read; `None` where its shape is not known, for which the columns need
    /// names.
    pub mapping: Option<Mapping>,
    /// Why the first row, or the file from some place on, cannot be read.
    pub problem: Option<String>,
    /// The rows as they would be kept.
    pub rows: Vec<Value>,
    pub bad_rows: Vec<BadRow>,
    /// What is worth knowing before the rows are imported.
    pub notices: Vec<Notice>,
}

impl Inspection {
    /// Looks at no more than `count` rows of a file. `format` is that of bytes which a program made.
    ///
    /// A file that is no text of its encoding is read as Windows-1252, with a notice "encoding". One of another
    /// program is an error of code `bad-data`.
    pub fn new(
        file: &str,
        format: Option<Format>,
        head: Head,
        options: &ImportOptions,
        count: usize,
    ) -> Result<Self> {
        check_names(&options.columns)?;
        let mut reader = begun(file, format, head, &options.format)?;
        let mut notices = Vec::new();
        if reader.is_misread()
            && options.format.encoding.is_none()
            && reader.encoding() == Some(Encoding::Utf8)
        {
            let encoding = Some(Encoding::Windows1252);
            reader = begun(file, format, head, &FormatOptions { encoding, ..options.format.clone() })?;
            notices.push(Notice::new(
                "encoding",
                "the file is not UTF-8 and was read as Windows-1252 to show these rows. If they look right, pass \
                 encoding: \"windows-1252\", else save the file as UTF-8 (in a spreadsheet program as \"CSV UTF-8\")",
            ));
        }
        let first = reader.next_row();
        if reader.format().is_none() {
            first.as_ref().map_err(Clone::clone).context(file)?;
        }
        let mut found = Inspection {
            file: file.to_owned(),
            format: reader.format().or(format).unwrap_or(Format::Text),
            encoding: reader.encoding().unwrap_or(Encoding::Utf8),
            columns: Vec::new(),
            mapping: None,
            problem: None,
            rows: Vec::new(),
            bad_rows: Vec::new(),
            notices,
        };
        let mut empty = EmptyCells::default();
        let mut next = first;
        for seen in 0..count {
            match next {
                Ok(Some(raw)) => found.look_at(raw, options, &mut empty, seen == 0),
                Ok(None) => break,
                Err(error) => {
                    found.problem.get_or_insert(error.message);
                    break;
                }
            }
            next = reader.next_row();
        }
        if !head.is_whole && found.rows.is_empty() && found.bad_rows.is_empty() && found.problem.is_none() {
            let unit = found.format.unit();
            found.problem =
                Some(format!("{unit} 1: longer than the {} bytes that were looked at", head.bytes.len()));
        }
        if looks_like_a_row(reader.header(), options) {
            let message = format!("{NO_HEADER}, and name the columns \"0\", \"1\" and so on");
            found.notices.push(Notice::new("no-header", message));
        }
        found.notices.extend(empty.notices(found.rows.len() as u64));
        Ok(found)
    }

    fn look_at(&mut self, raw: RawRow, options: &ImportOptions, empty: &mut EmptyCells, is_first: bool) {
        let row = match columns(raw.value) {
            Ok(row) => row,
            Err(error) => return self.is_bad(raw.place, error.message, is_first),
        };
        for column in row.keys() {
            if !self.columns.contains(column) {
                self.columns.push(column.clone());
            }
        }
        match keep(&row, options.reading()) {
            Ok(kept) => {
                empty.add(&kept);
                self.rows.push(kept.row);
                self.mapping.get_or_insert(kept.mapping);
            }
            Err(error) => self.is_bad(raw.place, error.message, is_first),
        }
    }

    fn is_bad(&mut self, place: u64, reason: String, is_first: bool) {
        if is_first {
            self.problem = Some(reason.clone());
        }
        let unit = self.format.unit().to_owned();
        self.bad_rows.push(BadRow { file: self.file.clone(), unit, place, reason });
    }
}

/// Cells with nothing in them where a question, an answer or a text should be, by column.
#[derive(Default)]
pub(super) struct EmptyCells(BTreeMap<String, u64>);

impl EmptyCells {
    pub fn add(&mut self, kept: &Kept) {
        for column in &kept.empty {
            *self.0.entry(column.clone()).or_default() += 1;
        }
    }

    /// One for each column, of `rows` rows.
    pub fn notices(&self, rows: u64) -> impl Iterator<Item = Notice> {
        self.0.iter().map(move |(column, count)| {
            let what = format!("{column:?} is empty in {count} of {rows} rows");
            Notice::new("empty-cells", what + "; if it is the wrong column, name another one for it")
        })
    }
}

/// A reader that has the head of the file.
fn begun(file: &str, format: Option<Format>, head: Head, options: &FormatOptions) -> Result<Reader> {
    let mut reader = match format {
        Some(format) => Reader::new(format, options)?,
        None => Reader::of_file(file, options)?,
    };
    reader.push(head.bytes);
    if head.is_whole {
        reader.finish();
    }
    Ok(reader)
}

/// Whether a header holds what columns are not called: numbers or sentences. Names that were given for columns of
/// the file say that it is one.
pub(super) fn looks_like_a_row(header: &[String], options: &ImportOptions) -> bool {
    const LONGEST_NAME: usize = 64;
    let is_meant = |name: &String| options.columns.values().any(|column| column == name);
    let is_said = |name: &String| {
        let words = name.split_whitespace().count();
        let ends = name.ends_with(['.', '!', '?', '…']) && words > 1 || name.ends_with(['。', '！', '？']);
        ends || words > 5 || name.chars().count() > LONGEST_NAME || name.contains('\n')
    };
    let is_number = |name: &String| name.parse::<f64>().is_ok_and(f64::is_finite);
    !header.iter().any(is_meant) && header.iter().any(|name| is_said(name) || is_number(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::shape::Shape;

    fn look(file: &str, head: impl AsRef<[u8]>, is_whole: bool, options: &ImportOptions) -> Inspection {
        Inspection::new(file, None, Head { bytes: head.as_ref(), is_whole }, options, 3).unwrap()
    }

    fn codes(inspection: &Inspection) -> Vec<&str> {
        inspection.notices.iter().map(|notice| notice.code.as_str()).collect()
    }

    #[test]
    fn a_shape_is_told_before_anything_is_imported() {
        let default = ImportOptions::default();
        let cut = look("a.csv", "question,answer\nq,a\nr,b\ns", false, &default);
        assert_eq!((cut.format, cut.rows.len(), cut.problem), (Format::Csv, 2, None));
        let mapping = cut.mapping.unwrap();
        assert_eq!(
            (mapping.shape, mapping.columns["completion"].as_str()),
            (Shape::PromptCompletion, "answer")
        );

        let unknown = look("a.jsonl", "{\"Frage\": \"q\", \"Antwort\": \"a\"}", true, &default);
        assert_eq!(
            (unknown.mapping, unknown.columns),
            (None, vec!["Frage".to_owned(), "Antwort".to_owned()])
        );
        assert!(unknown.problem.unwrap().contains("name the columns"));
        assert_eq!(unknown.bad_rows[0].place, 1);
    }

    #[test]
    fn what_is_not_utf_8_is_shown_as_windows_1252() {
        let default = ImportOptions::default();
        // The bytes that are not UTF-8 may stand far behind the rows that are shown.
        let many = [
            b"prompt;completion\n".as_slice(),
            &b"Wo?;Hier.\n".repeat(100),
            b"Wo?;M\xFChlgasse \x9312\x94\n",
        ]
        .concat();
        let few = b"prompt;completion\nWo?;M\xFChlgasse 12\n";
        for (bytes, text) in [(many.as_slice(), "Hier."), (few, "Mühlgasse 12")] {
            let found = look("a.csv", bytes, true, &default);
            assert_eq!((codes(&found), found.encoding), (vec!["encoding"], Encoding::Windows1252));
            assert_eq!((found.rows[0]["completion"].as_str(), found.problem), (Some(text), None));
        }
        let format = FormatOptions { encoding: Some(Encoding::Windows1252), ..Default::default() };
        let asked = look("a.csv", few, true, &ImportOptions { format, ..Default::default() });
        assert_eq!((codes(&asked), asked.rows.len()), (vec![], 1));
        let wide: Vec<u8> =
            "\u{FEFF}prompt\tcompletion\nWo?\tHier.\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let wide = look("a.txt", wide, true, &default);
        assert_eq!((wide.format, wide.encoding, wide.rows.len()), (Format::Tsv, Encoding::Utf16Le, 1));
        assert_eq!(codes(&wide), Vec::<&str>::new());
    }

    #[test]
    fn a_first_line_that_is_a_row_is_noticed() {
        let default = ImportOptions::default();
        for head in [
            "When do you open?,From ten.\nWhere?,Here.\n",
            "1,Yes\n2,No\n",
            "Wann haben Sie denn morgens offen,Ja\nb,c\n",
            "いつですか？,十時。\nb,c\n",
        ] {
            assert_eq!(codes(&look("a.csv", head, true, &default)), ["no-header"], "{head}");
        }
        let header = FormatOptions { header: false, ..Default::default() };
        let told = ImportOptions { format: header, ..Default::default() };
        let found = look("a.csv", "When is it?,From ten.\n", true, &told);
        assert_eq!(codes(&found), Vec::<&str>::new());
        assert_eq!(found.columns, ["0", "1"]);
        for head in [
            "prompt,completion\na,b\n",
            "Question?,Answer?,Notes (2024)\na,b,c\n",
            ",question,answer\n0,a,b\n",
        ] {
            assert_eq!(codes(&look("a.csv", head, true, &default)), Vec::<&str>::new(), "{head}");
        }
        let columns = [("text".to_owned(), "What is it about?".to_owned())].into();
        let named = ImportOptions { columns, ..Default::default() };
        assert_eq!(codes(&look("a.csv", "What is it about?\nx\n", true, &named)), Vec::<&str>::new());
    }

    #[test]
    fn a_file_that_cannot_be_read_says_why() {
        let default = ImportOptions::default();
        let open = look("a.csv", "prompt,completion\na,b\n\"c,d\n", true, &default);
        let reason = "line 3: a quote in this record is never closed";
        assert_eq!((open.rows.len(), open.problem.as_deref()), (1, Some(reason)));
        let cut = look("a.jsonl", "{\"text\": \"a", false, &default);
        assert_eq!(cut.problem.as_deref(), Some("line 1: longer than the 11 bytes that were looked at"));
        let long = look("a.jsonl", "\0".repeat(17 << 20), false, &default);
        assert_eq!(long.problem.as_deref(), Some("line 1: longer than 16777216 bytes"));
        for (bytes, what) in [
            (b"PK\x03\x04\x14\0\x08\0\xFF".as_slice(), "Excel workbook"),
            (b"%PDF-1.7", "is a PDF"),
            (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "old Excel"),
            (b"<!DOCTYPE html>\n<html>", "is a web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        ] {
            let head = Head { bytes, is_whole: true };
            let error = Inspection::new("a.csv", None, head, &default, 3).unwrap_err();
            let message = error.to_string();
            assert!(message.starts_with("a.csv: the file ") && message.contains(what), "{message}");
        }
        let prose = look("a.txt", "<html>", true, &default);
        assert_eq!((prose.format, prose.rows.len()), (Format::Text, 1));
    }
}
