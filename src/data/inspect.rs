//! What a file seems to hold, before it is imported.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::formats::{Format, Reader};
use super::library::{BadRow, ImportOptions};
use super::notice::Notice;
use super::shape::{Kept, Mapping, check_names, columns, keep};
use crate::error::Result;

/// The first rows of a file and how they would be read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    pub file: String,
    pub format: Format,
    /// All columns of these rows, in the order in which they were met.
    pub columns: Vec<String>,
    /// How the first row would be read; `None` where its shape is not known, for which the columns need
    /// names.
    pub mapping: Option<Mapping>,
    /// Why the first row cannot be read.
    pub problem: Option<String>,
    /// The rows as they would be kept.
    pub rows: Vec<Value>,
    pub bad_rows: Vec<BadRow>,
    /// What is worth knowing before the rows are imported.
    pub notices: Vec<Notice>,
}

impl Inspection {
    /// Looks at no more than `count` rows in the first bytes of a file; `is_whole` says that there are no
    /// more bytes.
    pub fn new(
        file: &str,
        is_rows: bool,
        head: &[u8],
        is_whole: bool,
        options: &ImportOptions,
        count: usize,
    ) -> Result<Self> {
        check_names(&options.columns)?;
        let format = if is_rows { Format::Rows } else { Format::detect(file, head) };
        let mut reader = Reader::new(format, &options.format)?;
        reader.push(head);
        if is_whole {
            reader.finish();
        }
        let mut found = Inspection {
            file: file.to_owned(),
            format,
            columns: Vec::new(),
            mapping: None,
            problem: None,
            rows: Vec::new(),
            bad_rows: Vec::new(),
            notices: Vec::new(),
        };
        let mut empty = EmptyCells::default();
        for seen in 0..count {
            let Some(raw) = reader.next_row()? else { break };
            let row = match columns(raw.value) {
                Ok(row) => row,
                Err(error) => {
                    found.is_bad(raw.place, error.message, seen == 0);
                    continue;
                }
            };
            for column in
                row.keys().filter(|column| !found.columns.contains(column)).cloned().collect::<Vec<_>>()
            {
                found.columns.push(column);
            }
            match keep(&row, options.reading()) {
                Ok(kept) => {
                    empty.add(&kept);
                    found.rows.push(kept.row);
                    found.mapping.get_or_insert(kept.mapping);
                }
                Err(error) => found.is_bad(raw.place, error.message, seen == 0),
            }
        }
        found.notices.extend(empty.notices(found.rows.len() as u64));
        Ok(found)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::shape::Shape;

    #[test]
    fn a_shape_is_told_before_anything_is_imported() {
        let look = |file: &str, head: &str, whole: bool, options: &ImportOptions| {
            Inspection::new(file, false, head.as_bytes(), whole, options, 3).unwrap()
        };
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
}
