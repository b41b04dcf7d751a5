//! Characters that stand for places in a text while a template renders it.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::bail;
use crate::error::Result;

/// Planes 15 and 16 of Unicode, for private use: texts that are exchanged hold next to none of it.
const PRIVATE: Range<u32> = 0xF_0000..0x11_0000;

/// The private characters that no text has, of those that were looked at.
#[derive(Clone, Default)]
pub struct FreeMarks {
    taken: BTreeSet<u32>,
}

impl FreeMarks {
    /// What `text` has of them is not free.
    pub fn take(&mut self, text: &str) {
        // In UTF-8 these characters alone begin with these bytes.
        if text.bytes().any(|byte| byte >= 0xF3) {
            self.taken.extend(text.chars().map(u32::from).filter(|code| PRIVATE.contains(code)));
        }
    }

    /// `count` free characters in a row.
    pub fn choose(&self, count: usize) -> Result<Marks> {
        let mut first = PRIVATE.start;
        for &taken in self.taken.iter().chain([&PRIVATE.end]) {
            if (taken - first) as usize >= count {
                return Ok(Marks { first, count });
            }
            first = taken + 1;
        }
        bail!(BadData, "the chat is too long, or has too many characters for private use, to find its turns")
    }
}

/// Characters of which none occurs in the texts they were chosen for.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    first: u32,
    count: usize,
}

impl Marks {
    /// The mark of that number, which must be less than the marks there are.
    pub fn get(&self, index: usize) -> char {
        char::from_u32(self.first + index as u32).expect("the planes for private use are characters")
    }

    /// The number of the mark that `character` is.
    pub fn index(&self, character: char) -> Option<usize> {
        let index = u32::from(character).checked_sub(self.first)? as usize;
        (index < self.count).then_some(index)
    }

    /// The text without its marks, and each mark with its place: bytes of that text before it.
    pub fn take_out(&self, marked: &str) -> (String, Vec<(usize, usize)>) {
        let mut text = String::with_capacity(marked.len());
        let mut places = Vec::new();
        let mut rest = marked;
        while let Some((at, index)) = self.find(rest) {
            text.push_str(&rest[..at]);
            places.push((index, text.len()));
            rest = &rest[at + self.get(index).len_utf8()..];
        }
        text.push_str(rest);
        (text, places)
    }

    /// The first mark of `text`: its place in bytes, and its number.
    fn find(&self, text: &str) -> Option<(usize, usize)> {
        text.char_indices().find_map(|(at, character)| Some((at, self.index(character)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_characters_that_the_texts_lack() {
        let mut free = FreeMarks::default();
        free.take("a\u{FDD0}\u{1F600}b\u{F0000}\u{F0003}");
        let marks = free.choose(3).unwrap();
        assert_eq!(marks.get(0), '\u{F0004}');
        assert_eq!(free.choose(2).unwrap().get(1), '\u{F0002}');
        assert_eq!(marks.index('\u{F0003}'), None);
        assert_eq!(marks.index('\u{F0007}'), None);
        let (text, places) = marks.take_out("é\u{F0005}x\u{F0004}\u{F0006}");
        assert_eq!((text.as_str(), places), ("éx", vec![(1, 2), (0, 3), (2, 3)]));
        assert!(free.choose(0x2_0000).is_err());
    }
}
