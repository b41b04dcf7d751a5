//! The bytes of a text file as UTF-8, whatever encoding it was saved in.

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error};

/// How characters are stored. The names are those of the WHATWG's Encoding Standard.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "utf-16le")]
    Utf16Le,
    #[serde(rename = "utf-16be")]
    Utf16Be,
    /// What Windows saves "ANSI" text as in western Europe and America, Latin-1 included.
    #[serde(rename = "windows-1252")]
    Windows1252,
}

/// Bytes from which the encoding is told.
const HEAD: usize = 4;

impl Encoding {
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "UTF-8",
            Encoding::Utf16Le | Encoding::Utf16Be => "UTF-16",
            Encoding::Windows1252 => "Windows-1252",
        }
    }

    /// The encoding by the first bytes, and how many of these are its byte order mark.
    ///
    /// A mark decides, else `asked`. Without either, zero bytes in every other place are UTF-16 of characters
    /// below 256, with which almost every file begins; anything else is UTF-8.
    fn detect(head: &[u8], asked: Option<Encoding>) -> (Encoding, usize) {
        match (head, asked) {
            ([0xEF, 0xBB, 0xBF, ..], _) => (Encoding::Utf8, 3),
            ([0xFF, 0xFE, ..], _) => (Encoding::Utf16Le, 2),
            ([0xFE, 0xFF, ..], _) => (Encoding::Utf16Be, 2),
            (_, Some(asked)) => (asked, 0),
            ([1..=255, 0, 1..=255, 0, ..], None) => (Encoding::Utf16Le, 0),
            ([0, 1..=255, 0, 1..=255, ..], None) => (Encoding::Utf16Be, 0),
            _ => (Encoding::Utf8, 0),
        }
    }
}

/// Turns the pieces of a file into text, until a byte makes no sense. What it gives does not depend on where
/// the pieces end.
#[derive(Default)]
pub struct Decoder {
    asked: Option<Encoding>,
    found: Option<Encoding>,
    /// Bytes that are no whole character yet, or too few to tell the encoding.
    rest: Vec<u8>,
    /// Line ends so far.
    lines: u64,
    is_broken: bool,
}

impl Decoder {
    pub fn new(asked: Option<Encoding>) -> Self {
        Decoder { asked, ..Default::default() }
    }

    /// The encoding, once it is known.
    pub fn encoding(&self) -> Option<Encoding> {
        self.found
    }

    /// Whether the file was found not to be text of its encoding. Nothing is decoded any more.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Adds what the piece holds to `text`, which holds everything before it or what is left of that.
    pub fn push(&mut self, piece: &[u8], text: &mut String) {
        if self.is_broken {
            return;
        }
        let joined = [self.rest.as_slice(), piece].concat();
        let bytes = match self.found {
            Some(_) => joined.as_slice(),
            None if joined.len() < HEAD => {
                self.rest = joined;
                return;
            }
            None => self.begin(&joined),
        };
        let (before, taken) = (text.len(), self.decode(bytes, text));
        self.rest = bytes[taken..].to_vec();
        self.lines += text.as_bytes()[before..].iter().filter(|&&byte| byte == b'\n').count() as u64;
    }

    /// Says that no more bytes follow. What is left of a character makes no sense then.
    pub fn finish(&mut self, text: &mut String) {
        if self.found.is_none() {
            let head = std::mem::take(&mut self.rest);
            let bytes = self.begin(&head).to_vec();
            self.push(&bytes, text);
        }
        self.is_broken |= !self.rest.is_empty();
    }

    /// Why the file cannot be read, without its name, and what a person can do.
    pub fn failure(&self) -> Error {
        let name = self.found.unwrap_or(Encoding::Utf8).name();
        let hint = match self.found {
            Some(Encoding::Utf8) | None => {
                "save it as UTF-8 (in a spreadsheet program as \"CSV UTF-8\"), or pass the encoding that it has, \
                 e.g. encoding: \"windows-1252\""
            }
            _ => "save it as UTF-8, or pass another encoding",
        };
        Error::new(Code::BadData, format!("line {}: the file is not {name}; {hint}", self.lines + 1))
    }

    /// Settles the encoding; returns what follows the byte order mark.
    fn begin<'a>(&mut self, head: &'a [u8]) -> &'a [u8] {
        let (encoding, mark) = Encoding::detect(head, self.asked);
        self.found = Some(encoding);
        &head[mark..]
    }

    /// Returns how many bytes were taken.
    fn decode(&mut self, bytes: &[u8], text: &mut String) -> usize {
        match self.found {
            Some(Encoding::Windows1252) => {
                text.extend(bytes.iter().map(|&byte| windows_1252(byte)));
                bytes.len()
            }
            Some(Encoding::Utf16Le) => self.utf_16(bytes, u16::from_le_bytes, text),
            Some(Encoding::Utf16Be) => self.utf_16(bytes, u16::from_be_bytes, text),
            Some(Encoding::Utf8) | None => self.utf_8(bytes, text),
        }
    }

    fn utf_8(&mut self, bytes: &[u8], text: &mut String) -> usize {
        let (valid, cause) = match str::from_utf8(bytes) {
            Ok(all) => (all, None),
            Err(cause) => {
                let valid = &bytes[..cause.valid_up_to()];
                (str::from_utf8(valid).unwrap_or_default(), Some(cause))
            }
        };
        // An error without a length is a character that the piece cut off.
        self.is_broken = cause.is_some_and(|cause| cause.error_len().is_some());
        text.push_str(valid);
        valid.len()
    }

    fn utf_16(&mut self, bytes: &[u8], unit: fn([u8; 2]) -> u16, text: &mut String) -> usize {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        // The other half of a last high surrogate may come with the next piece.
        let cut = units.last().is_some_and(|unit| (0xD800..0xDC00).contains(unit));
        let whole = units.len() - usize::from(cut);
        for char in char::decode_utf16(units[..whole].iter().copied()) {
            match char {
                Ok(char) => text.push(char),
                Err(_) => {
                    self.is_broken = true;
                    break;
                }
            }
        }
        2 * whole
    }
}

/// The character of a byte, as browsers have it: the five bytes that Windows leaves open are control characters.
fn windows_1252(byte: u8) -> char {
    const FROM_0X80: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9F => FROM_0X80[usize::from(byte - 0x80)],
        _ => byte.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded<'a>(asked: Option<Encoding>, pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, Decoder) {
        let (mut decoder, mut text) = (Decoder::new(asked), String::new());
        for piece in pieces {
            decoder.push(piece, &mut text);
        }
        decoder.finish(&mut text);
        (text, decoder)
    }

    fn utf_16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn marks_zero_bytes_and_the_option_tell_the_encoding() {
        let text = "Größe 🎉\n";
        let (le, be) = (utf_16(text, u16::to_le_bytes), utf_16(text, u16::to_be_bytes));
        let marked = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
        for (bytes, asked, encoding) in [
            (text.as_bytes().to_vec(), None, Encoding::Utf8),
            (marked(b"\xEF\xBB\xBF", text.as_bytes()), Some(Encoding::Windows1252), Encoding::Utf8),
            (marked(b"\xFF\xFE", &le), None, Encoding::Utf16Le),
            (marked(b"\xFE\xFF", &be), Some(Encoding::Utf16Le), Encoding::Utf16Be),
            (le.clone(), None, Encoding::Utf16Le),
            (be.clone(), None, Encoding::Utf16Be),
            (le, Some(Encoding::Utf16Le), Encoding::Utf16Le),
        ] {
            let (found, decoder) = decoded(asked, [bytes.as_slice()]);
            assert_eq!((found.as_str(), decoder.encoding()), (text, Some(encoding)));
            assert!(!decoder.is_broken());
        }
        for short in ["", "a", "é", "ab"] {
            assert_eq!(decoded(None, [short.as_bytes()]).0, short);
        }
        assert_eq!(decoded(None, [b"\xFF\xFEa\0".as_slice()]).0, "a");
    }

    #[test]
    fn windows_1252_is_that_of_the_encoding_standard() {
        let bytes: Vec<u8> = (0..=255).collect();
        let (text, decoder) = decoded(Some(Encoding::Windows1252), [bytes.as_slice()]);
        assert!(!decoder.is_broken() && text.chars().count() == 256);
        let at = |byte: usize| text.chars().nth(byte).unwrap();
        assert_eq!(
            [0x41, 0x80, 0x81, 0x93, 0x9F, 0xA0, 0xFC].map(at),
            ['A', '€', '\u{81}', '“', 'Ÿ', '\u{A0}', 'ü']
        );
    }

    #[test]
    fn a_byte_that_makes_no_sense_ends_the_text_and_says_what_to_do() {
        for (bytes, text, line) in [
            (b"a\nb\xFCc\nd".as_slice(), "a\nb", 2),
            (b"a\xC3", "a", 1),
            (b"\xEF\xBB\xBFabc\n\xC3", "abc\n", 2),
        ] {
            let (found, decoder) = decoded(None, [bytes]);
            assert_eq!((found.as_str(), decoder.is_broken()), (text, true));
            let message = decoder.failure().message;
            assert!(message.starts_with(&format!("line {line}: the file is not UTF-8; ")), "{message}");
            assert!(message.contains("CSV UTF-8") && message.contains("windows-1252"), "{message}");
        }
        for bytes in [b"\xFF\xFEa\0b".as_slice(), b"\xFF\xFEa\0\0\xD8", b"\xFF\xFE\0\xDCa\0"] {
            let (_, decoder) = decoded(None, [bytes]);
            assert!(decoder.is_broken() && decoder.failure().message.contains("not UTF-16"));
        }
    }

    proptest! {
        #[test]
        fn text_does_not_depend_on_where_the_pieces_end(
            text in "[aé\u{FEFF}€🎉\n]{0,12}",
            broken in prop::collection::vec(any::<u8>(), 0..3),
            cuts in prop::collection::vec(0usize..64, 0..8),
        ) {
            for (asked, bytes) in [
                (None, text.as_bytes().to_vec()),
                (None, utf_16(&format!("\u{FEFF}{text}"), u16::to_le_bytes)),
                (Some(Encoding::Utf16Be), utf_16(&text, u16::to_be_bytes)),
                (Some(Encoding::Windows1252), text.as_bytes().to_vec()),
            ] {
                let bytes = [bytes.as_slice(), &broken].concat();
                let mut cuts: Vec<usize> = cuts.iter().map(|&cut| cut.min(bytes.len())).collect();
                cuts.extend([0, bytes.len()]);
                cuts.sort();
                let told = |(text, decoder): (String, Decoder)| (text, decoder.is_broken(), decoder.lines);
                let whole = told(decoded(asked, [bytes.as_slice()]));
                let pieces = cuts.windows(2).map(|edge| &bytes[edge[0]..edge[1]]);
                prop_assert_eq!(&told(decoded(asked, pieces)), &whole);
                prop_assert_eq!(&told(decoded(asked, bytes.chunks(1))), &whole);
            }
        }
    }
}
