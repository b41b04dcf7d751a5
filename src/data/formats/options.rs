//! How a file is to be read.

use serde::{Deserialize, Serialize};

use super::{Encoding, LONGEST_ROW};
use crate::bail;
use crate::error::Result;

/// What a file's bytes do not say about its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FormatOptions {
    /// What stands between the fields of a CSV or TSV file, an ASCII character. Without it, it is what a first
    /// line `sep=;` says. Else it is a tab in TSV, and in CSV that of comma, semicolon, tab and bar which cuts
    /// the header into the most fields.
    pub delimiter: Option<char>,
    /// Whether the first line of a CSV or TSV file names its columns. Otherwise they are called "0", "1" and so
    /// on, as pandas does.
    pub header: bool,
    /// How the file stores characters, where no byte order mark says so; else UTF-8.
    pub encoding: Option<Encoding>,
    /// The most characters (Unicode scalar values) of a row that is cut out of text.
    pub text_chars: usize,
}

impl Default for FormatOptions {
    fn default() -> Self {
        FormatOptions { delimiter: None, header: true, encoding: None, text_chars: 2000 }
    }
}

impl FormatOptions {
    /// Options out of range are an error of code `bad-option`.
    pub fn check(&self) -> Result<()> {
        if let Some(delimiter) = self.delimiter
            && (!delimiter.is_ascii() || matches!(delimiter, '"' | '\n' | '\r'))
        {
            bail!(
                BadOption,
                "delimiter must be an ASCII character other than a quote or a line end, but is {delimiter:?}"
            );
        }
        // A character takes at most four bytes.
        let most = LONGEST_ROW / 4;
        if !(1..=most).contains(&self.text_chars) {
            bail!(BadOption, "text_chars must be from 1 to {most}, but is {}", self.text_chars);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn options_out_of_range_are_refused() {
        let refused = |delimiter, text_chars| {
            let options = FormatOptions { delimiter, text_chars, ..Default::default() };
            let error = options.check().unwrap_err();
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
}
