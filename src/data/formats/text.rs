//! Prose, cut into rows of whole paragraphs.

use std::collections::VecDeque;

use serde_json::json;

use super::front_matter::FrontMatter;
use super::{RawRow, Rows, check_length};
use crate::data::lines::Lines;
use crate::error::Result;

/// Cuts text, or Markdown, into rows `{"text": …}` of at most `limit` characters.
///
/// Text is made of paragraphs, with blank lines between them, and a row takes as many whole ones as fit. A
/// paragraph that is too long for a row is cut behind the last sentence that fits, else at the last white
/// space, else anywhere. Its last part shares a row with what follows.
///
/// In Markdown a fenced block of code counts as one paragraph, blank lines and all, and is cut at line ends
/// where it is too long. An ATX heading (`# …`, outside of fences) begins a paragraph, and a new row too if
/// the current one is at least half full. Front matter is left out.
pub struct Text {
    lines: Lines,
    finished: bool,
    markdown: bool,
    limit: usize,
    /// What may be front matter, until that is known.
    front: Option<FrontMatter>,
    /// What opened the code that the current line is in.
    fence: Option<Fence>,
    paragraph: Paragraph,
    row: Paragraph,
    /// Rows of the line that was read last, which may be many if it is long.
    ready: VecDeque<RawRow>,
}

#[derive(Default)]
struct Paragraph {
    /// The line on which the text begins.
    place: u64,
    text: String,
    /// Characters of `text`.
    chars: usize,
    /// Whether a blank line precedes it.
    apart: bool,
    is_heading: bool,
}

/// A line that begins with a run of three or more backticks or tildes, whatever its indentation: code in
/// lists is indented.
#[derive(Clone, Copy)]
struct Fence {
    mark: char,
    length: usize,
    /// Whether nothing follows the run.
    is_bare: bool,
}

impl Fence {
    fn on(line: &str) -> Option<Fence> {
        let line = line.trim();
        let mark = line.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
        let after = line.trim_start_matches(mark);
        let length = line.len() - after.len();
        // Backticks on both sides are code within a line.
        let is_inline = mark == '`' && after.contains('`');
        (length >= 3 && !is_inline).then_some(Fence { mark, length, is_bare: after.is_empty() })
    }

    fn closes(self, open: Fence) -> bool {
        self.is_bare && self.mark == open.mark && self.length >= open.length
    }
}

impl Paragraph {
    fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn append(&mut self, separator: &str, text: &str) {
        self.text += separator;
        self.text += text;
        self.chars += separator.len() + text.chars().count();
    }
}

impl Text {
    pub fn new(limit: usize, markdown: bool) -> Self {
        Text {
            lines: Lines::default(),
            finished: false,
            markdown,
            limit,
            front: markdown.then(FrontMatter::default),
            fence: None,
            paragraph: Paragraph::default(),
            row: Paragraph::default(),
            ready: VecDeque::new(),
        }
    }

    /// Reads one line. False asks for more, or is the end of the file.
    fn read_line(&mut self) -> Result<bool> {
        let next = match self.lines.next_line() {
            None if self.finished => self.lines.last_line(),
            next => next,
        };
        let Some((place, line)) = next else {
            check_length(self.lines.pending(), "line", self.lines.pending_number())?;
            return Ok(false);
        };
        check_length(line.len(), "line", place)?;
        // Cut at line ends, text in UTF-8 stays it.
        let line = String::from_utf8_lossy(line).into_owned();
        match &mut self.front {
            Some(front) => {
                front.push(line);
                self.leave_front(false);
            }
            None => self.take_line(place, &line),
        }
        Ok(true)
    }

    /// Takes the lines that turned out to be no front matter.
    fn leave_front(&mut self, is_end: bool) {
        let prose = self.front.as_mut().and_then(|front| front.prose(is_end));
        if let Some(lines) = prose {
            self.front = None;
            for (place, line) in (1..).zip(lines) {
                self.take_line(place, &line);
            }
        }
    }

    fn take_line(&mut self, place: u64, line: &str) {
        let fence = if self.markdown { Fence::on(line) } else { None };
        if let Some(open) = self.fence {
            self.append(place, line);
            if fence.is_some_and(|fence| fence.closes(open)) {
                self.fence = None;
                self.end_paragraph();
            }
        } else if line.trim().is_empty() {
            self.end_paragraph();
            self.paragraph.apart = true;
        } else {
            let is_heading = self.markdown && is_heading(line);
            if fence.is_some() || is_heading {
                self.end_paragraph();
            }
            self.fence = fence;
            self.paragraph.is_heading |= is_heading;
            self.append(place, line);
        }
    }

    /// Adds a line to the paragraph, and cuts off what is too long for one row.
    fn append(&mut self, place: u64, line: &str) {
        let paragraph = &mut self.paragraph;
        if paragraph.is_empty() {
            paragraph.place = place;
            paragraph.append("", line);
        } else {
            paragraph.append("\n", line);
        }
        if paragraph.chars > self.limit {
            self.end_row();
            self.cut_paragraph();
        }
    }

    fn cut_paragraph(&mut self) {
        let Paragraph { mut place, text, mut chars, .. } = std::mem::take(&mut self.paragraph);
        let mut rest = text.as_str();
        while chars > self.limit {
            let end = match self.fence {
                Some(_) => last_line_end(rest, self.limit),
                None => last_sentence_end(rest, self.limit),
            };
            let (part, after) = rest.split_at(end);
            // Code keeps the indentation of its next line.
            let after_gap = match self.fence {
                Some(_) => after.strip_prefix('\n').unwrap_or(after),
                None => after.trim_start(),
            };
            self.ready.extend(row(place, part.trim_end()));
            let gone = &rest[..rest.len() - after_gap.len()];
            place += gone.matches('\n').count() as u64;
            chars -= gone.chars().count();
            rest = after_gap;
        }
        self.paragraph = Paragraph { place, text: rest.to_string(), chars, ..Paragraph::default() };
    }

    /// Puts the paragraph into the row, or into the next one if it does not fit.
    fn end_paragraph(&mut self) {
        if self.paragraph.is_empty() {
            return;
        }
        let paragraph = std::mem::take(&mut self.paragraph);
        let separator = if paragraph.apart { "\n\n" } else { "\n" };
        let is_full = self.row.chars + separator.len() + paragraph.chars > self.limit;
        let is_half_full = 2 * self.row.chars >= self.limit;
        if is_full || paragraph.is_heading && is_half_full {
            self.end_row();
        }
        if self.row.is_empty() {
            self.row = paragraph;
        } else {
            self.row.append(separator, &paragraph.text);
        }
    }

    fn end_row(&mut self) {
        let Paragraph { place, text, .. } = std::mem::take(&mut self.row);
        self.ready.extend(row(place, &text));
    }
}

impl Rows for Text {
    fn push(&mut self, piece: &[u8]) {
        self.lines.push(piece);
    }

    fn finish(&mut self) {
        self.finished = true;
    }

    fn next_row(&mut self) -> Result<Option<RawRow>> {
        while self.ready.is_empty() {
            if !self.read_line()? {
                if self.finished {
                    self.leave_front(true);
                    self.end_paragraph();
                    self.end_row();
                }
                break;
            }
        }
        Ok(self.ready.pop_front())
    }
}

/// Text of nothing but white space, such as blank lines within code, is no row.
fn row(place: u64, text: &str) -> Option<RawRow> {
    (!text.trim().is_empty()).then(|| RawRow { place, value: Ok(json!({ "text": text })) })
}

/// An ATX heading: one to six number signs, then a blank or nothing.
fn is_heading(line: &str) -> bool {
    let title = line.trim_start_matches(' ');
    let text = title.trim_start_matches('#');
    let (indentation, signs) = (line.len() - title.len(), title.len() - text.len());
    indentation <= 3 && (1..=6).contains(&signs) && (text.is_empty() || text.starts_with([' ', '\t']))
}

/// Where to cut a text of more than `limit` characters so that at most so many stand in front: at the last
/// end of a sentence, else at the last white space, else anywhere.
fn last_sentence_end(text: &str, limit: usize) -> usize {
    /// What the characters up to here end.
    #[derive(PartialEq)]
    enum Ended {
        Nothing,
        /// A sentence, if white space follows.
        Perhaps,
        /// A sentence, as in languages that put no space between two.
        Sentence,
    }
    let (mut sentence, mut space, mut anywhere) = (None, None, 0);
    let mut ended = Ended::Nothing;
    for (index, char) in text.char_indices().take(limit + 1) {
        anywhere = index;
        let closes = matches!(char, '"' | '\'' | '”' | '’' | '»' | ')' | ']' | '」' | '』' | '）');
        if char.is_whitespace() && index > 0 {
            space = Some(index);
            if ended != Ended::Nothing {
                sentence = Some(index);
            }
        } else if ended == Ended::Sentence && !closes {
            sentence = Some(index);
        }
        ended = match char {
            '.' | '!' | '?' | '…' => Ended::Perhaps,
            '。' | '！' | '？' => Ended::Sentence,
            _ if closes => ended,
            _ => Ended::Nothing,
        };
    }
    sentence.or(space).unwrap_or(anywhere)
}

/// As [`last_sentence_end`], at the last line end if there is one.
fn last_line_end(text: &str, limit: usize) -> usize {
    let window = text.char_indices().take(limit + 1);
    let line_end = window.filter(|(index, char)| *char == '\n' && *index > 0).last();
    line_end.map_or_else(|| last_sentence_end(text, limit), |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::data::formats::tests::read_pieces;
    use crate::data::formats::{Format, FormatOptions};

    /// The rows' places and texts.
    fn cut(format: Format, text: &str, text_chars: usize) -> Vec<(u64, String)> {
        let options = FormatOptions { text_chars, ..Default::default() };
        let (rows, error) = read_pieces(format, &options, [text.as_bytes()]);
        assert!(error.is_none(), "{}", error.unwrap());
        let text = |row: &serde_json::Value| row["text"].as_str().unwrap().to_string();
        rows.iter().map(|row| (row.place, text(row.value.as_ref().unwrap()))).collect()
    }

    fn expect(format: Format, text: &str, text_chars: usize, rows: &[(u64, &str)]) {
        let rows: Vec<_> = rows.iter().map(|(place, text)| (*place, text.to_string())).collect();
        assert_eq!(cut(format, text, text_chars), rows);
    }

    #[test]
    fn a_row_takes_the_paragraphs_that_fit() {
        let text = "\u{FEFF}\r\none\r\n1\r\n\r\n \t\r\ntwo\n\nthree\n";
        expect(Format::Text, text, 10, &[(2, "one\n1\n\ntwo"), (8, "three")]);
        expect(Format::Text, text, 9, &[(2, "one\n1"), (6, "two"), (8, "three")]);
    }

    #[test]
    fn a_long_paragraph_is_cut_at_sentences_then_spaces_then_anywhere() {
        expect(Format::Text, "One. Two! \"Three?\"\nFour", 20, &[(1, "One. Two! \"Three?\""), (2, "Four")]);
        expect(Format::Text, "One. Two three four", 12, &[(1, "One."), (1, "Two three"), (1, "four")]);
        expect(Format::Text, "一二。三四。」五六", 8, &[(1, "一二。三四。」"), (1, "五六")]);
        expect(Format::Text, "3.14 is.pi ünd", 7, &[(1, "3.14"), (1, "is.pi"), (1, "ünd")]);
        expect(Format::Text, "🎉🎉🎉🎉🎉", 2, &[(1, "🎉🎉"), (1, "🎉🎉"), (1, "🎉")]);
        // What is left shares a row with what follows.
        expect(Format::Text, "short\n\none two\n\nx", 6, &[(1, "short"), (3, "one"), (3, "two\n\nx")]);
    }

    #[test]
    fn a_heading_begins_a_row_where_the_current_one_is_half_full() {
        let text = "# A\ntext\n## B\n\n#hash\n# C\nmore";
        let rows = [(1, "# A\ntext\n## B\n\n#hash"), (6, "# C\nmore")];
        expect(Format::Markdown, text, 40, &rows);
        expect(Format::Markdown, text, 1000, &[(1, text)]);
        expect(Format::Text, text, 40, &[(1, text)]);
    }

    #[test]
    fn fenced_code_that_fits_is_not_cut() {
        let code = "~~~ py\n# no heading\n\n  x\n```\n~~~";
        let text = format!("before\n{code}\nafter");
        expect(Format::Markdown, &text, code.len(), &[(1, "before"), (2, code), (8, "after")]);
        expect(Format::Markdown, &text, 1000, &[(1, &text)]);
        // Too long, it is cut at line ends, and the indentation stays.
        let rows = [(1, "before"), (2, "~~~ py"), (3, "# no heading"), (5, "  x\n```\n~~~"), (8, "after")];
        expect(Format::Markdown, &text, 13, &rows);
        expect(Format::Markdown, "```x``` is\n# A", 12, &[(1, "```x``` is"), (2, "# A")]);
    }

    #[test]
    fn front_matter_is_left_out_of_markdown() {
        let text = "---\ntags: [a]\n---\n# One\n";
        expect(Format::Markdown, text, 100, &[(4, "# One")]);
        expect(Format::Text, text, 100, &[(1, text.trim_end())]);
        expect(Format::Markdown, "---\ntags: [a]\n", 100, &[(1, "---\ntags: [a]")]);
        expect(Format::Markdown, "---\n\nProse.\n\n---\n", 100, &[(1, "---\n\nProse.\n\n---")]);
        expect(Format::Markdown, "---\na: b\n---", 100, &[]);
    }

    proptest! {
        #[test]
        fn rows_keep_all_text_in_order_within_the_limit(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "bc", ".", "。", " ", "\n", "\n\n", "# ", "```", "🎉", "  x\n", "\n```\n",
                ]),
                0..40,
            ),
            limit in 1usize..12,
        ) {
            let text = parts.concat();
            let solid = |text: &str| text.chars().filter(|char| !char.is_whitespace()).collect::<String>();
            for format in [Format::Text, Format::Markdown] {
                let rows = cut(format, &text, limit);
                let mut all = String::new();
                for (place, row) in &rows {
                    prop_assert!(row.chars().count() <= limit, "{:?}", row);
                    // What precedes the row in the file is what the rows before it hold.
                    let before: Vec<&str> = text.split('\n').take(*place as usize - 1).collect();
                    prop_assert!(all.starts_with(&solid(&before.concat())), "{} {:?}", place, row);
                    all += &solid(row);
                }
                prop_assert_eq!(&all, &solid(&text));
            }
        }
    }
}
