//! Files of other programs, which are picked by mistake and told by their first bytes.

use crate::error::{Code, Error};

/// Bytes that are enough to know any of them.
pub const HEAD: usize = 8;

/// What begins so, and what a person can do instead.
const KINDS: &[(&[u8], &str)] = &[
    // A workbook, a document and a presentation of today are all zip files.
    (
        b"PK\x03\x04",
        "is an Excel workbook (.xlsx), another Office document or a zip file; save a workbook's sheet as CSV UTF-8 \
         or a document as plain text, or unpack the zip file",
    ),
    (
        b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1",
        "is an old Excel workbook (.xls) or Word document (.doc); save a workbook's sheet as CSV UTF-8 or a document \
         as plain text",
    ),
    (b"%PDF-", "is a PDF; save its text as a .txt file"),
    (b"{\\rtf", "is a rich text document; save it as plain text"),
    (b"PAR1", "is a Parquet file; the native engine reads none, so save it as JSON lines"),
    (b"\x1F\x8B", "is packed with gzip; unpack it first"),
    (b"\x28\xB5\x2F\xFD", "is packed with Zstandard; unpack it first"),
    (b"\xFD7zXZ\0", "is packed with xz; unpack it first"),
    (b"7z\xBC\xAF\x27\x1C", "is a 7z archive; unpack it first"),
    (b"Rar!\x1A\x07", "is a RAR archive; unpack it first"),
    (b"ARROW1\0\0", "is an Arrow file; save it as JSON lines or Parquet"),
    (b"SQLite f", "is an SQLite database; export the table as CSV"),
    (b"\x89PNG", "is a picture"),
    (b"\xFF\xD8\xFF", "is a picture"),
    (b"GIF89a", "is a picture"),
];

/// Why a file that begins so cannot be read, without its name, if it is of another program.
pub fn refusal(head: &[u8]) -> Option<Error> {
    let (_, what) = KINDS.iter().find(|(magic, _)| head.starts_with(magic))?;
    Some(Error::new(Code::BadData, format!("the file {what}")))
}

/// As [`refusal`], by the first line of a file whose name promises rows.
pub fn text_refusal(line: &str) -> Option<Error> {
    let line = line.trim_start().to_ascii_lowercase();
    let what = if line.starts_with("version https://git-lfs.github.com/spec/") {
        "is a pointer of Git LFS and not the file itself; fetch that, e.g. with git lfs pull"
    } else if line.starts_with("<!doctype html") || line.starts_with("<html") {
        "is a web page; download the file itself, not the page that shows it"
    } else {
        return None;
    };
    Some(Error::new(Code::BadData, format!("the file {what}")))
}
