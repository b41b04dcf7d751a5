//! How a file holds its rows, told by its name and its first line.

use serde::{Deserialize, Serialize};

use super::encoding::Encoding;

/// How a file holds its rows.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON value on each line.
    Jsonl,
    /// One JSON array, whose elements are the rows.
    Json,
    /// Fields between commas, or what `delimiter` says, under a line of names.
    Csv,
    /// Fields between tabs under a line of names.
    Tsv,
    /// Prose, cut at blank lines.
    Text,
    /// Prose with headings and fenced code.
    Markdown,
    /// JSON lines made by a program from rows of its own, such as those of a Parquet file.
    Rows,
    /// CSV made by a program from a sheet of a workbook, a record for each of its rows.
    Sheet,
}

impl Format {
    /// Tells the format by the file's name and its first line that is not blank.
    ///
    /// The extension decides; a `.gz` behind it counts for nothing, and a `.txt` behind another one neither,
    /// which Windows adds and hides. Where the line says that the extension is wrong, the line decides: `[` is a
    /// JSON array and `{` JSON lines, also in tables and text if JSON's next mark follows. Text in UTF-16 with
    /// tabs is what Excel saves as "Unicode Text". Where the extension says nothing, it is text otherwise.
    pub fn detect(name: &str, line: &str, encoding: Encoding) -> Format {
        let json = json_in(line);
        let is_certain = json.is_some_and(|(_, is_certain)| is_certain);
        let json = json.map(|(format, _)| format);
        match extension(name).as_str() {
            "jsonl" | "ndjson" => json.unwrap_or(Format::Jsonl),
            "json" => json.unwrap_or(Format::Json),
            "csv" | "tsv" | "tab" | "txt" if is_certain => json.unwrap_or(Format::Jsonl),
            "csv" => Format::Csv,
            "tsv" | "tab" => Format::Tsv,
            "md" | "markdown" => Format::Markdown,
            "txt" if line.contains('\t') && matches!(encoding, Encoding::Utf16Le | Encoding::Utf16Be) => {
                Format::Tsv
            }
            "txt" => Format::Text,
            _ => json.unwrap_or(Format::Text),
        }
    }

    /// Whether the rows of a file with that name are not prose.
    pub fn promises_rows(name: &str) -> bool {
        matches!(
            extension(name).as_str(),
            "jsonl" | "ndjson" | "json" | "csv" | "tsv" | "tab" | "parquet" | "xlsx" | "xls"
        )
    }

    /// What the place of a row counts: `"line"` or `"row"`.
    pub fn unit(self) -> &'static str {
        match self {
            Format::Json | Format::Rows | Format::Sheet => "row",
            Format::Jsonl | Format::Csv | Format::Tsv | Format::Text | Format::Markdown => "line",
        }
    }
}

/// The extension that counts, in small letters.
fn extension(name: &str) -> String {
    const KNOWN: [&str; 8] = ["jsonl", "ndjson", "json", "csv", "tsv", "tab", "md", "markdown"];
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name).to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let inner = stem.rsplit_once('.').map_or("", |(_, inner)| inner);
    if extension == "txt" && KNOWN.contains(&inner) { inner.to_owned() } else { extension.to_owned() }
}

/// The kind of JSON that the line begins, and whether it can be nothing else.
fn json_in(line: &str) -> Option<(Format, bool)> {
    let line = line.trim();
    let rest = line.get(1..)?.trim_start();
    match line.as_bytes().first()? {
        b'[' => {
            let in_row = rest.strip_prefix('{').map(str::trim_start);
            Some((Format::Json, in_row.is_some_and(|row| row.is_empty() || row.starts_with('"'))))
        }
        b'{' => Some((Format::Jsonl, rest.starts_with('"'))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_the_first_line_tell_the_format() {
        for (name, line, format) in [
            ("train.jsonl", "", Format::Jsonl),
            ("train.jsonl", "nonsense", Format::Jsonl),
            ("a/b.c/TRAIN.NDJSON", "[", Format::Json),
            ("train.jsonl", "[{\"text\": 1}]", Format::Json),
            ("train.json", " [1]", Format::Json),
            ("train.json", "{\"a\": 1}", Format::Jsonl),
            ("train.json", "", Format::Json),
            ("train.csv", "[", Format::Csv),
            ("train.csv", "{\"a\": 1}", Format::Jsonl),
            ("train.tsv.gz", "", Format::Tsv),
            ("train.tab", "[ { \"a\": 1},", Format::Json),
            ("notes.txt", "{", Format::Text),
            ("notes.txt", "[Chapter 1]", Format::Text),
            ("notes.txt", "a\tb", Format::Text),
            ("notes.txt", "{ \"text\": \"a\"}", Format::Jsonl),
            ("rows.jsonl.txt", "", Format::Jsonl),
            ("ROWS.CSV.TXT.gz", "a,b", Format::Csv),
            ("notes.md.txt", "a", Format::Markdown),
            ("v1.2.txt", "a", Format::Text),
            ("notes.md", "{\"a\": 1}", Format::Markdown),
            ("notes.MARKDOWN.GZ", "", Format::Markdown),
            ("part-0001", "[{", Format::Json),
            ("part.0001", "{", Format::Jsonl),
            ("folder.csv/README", "Once", Format::Text),
            ("", "", Format::Text),
        ] {
            assert_eq!(Format::detect(name, line, Encoding::Utf8), format, "{name} {line:?}");
        }
        assert_eq!(Format::detect("rows.txt", "a\tb", Encoding::Utf16Le), Format::Tsv);
        assert_eq!(Format::detect("rows.txt", "a b", Encoding::Utf16Le), Format::Text);
    }
}
