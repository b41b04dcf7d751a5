//! Lines out of a file that is read in pieces.

/// Cuts bytes that arrive in pieces into lines: `\n` or `\r\n` ends a line, the last one may lack it, and a
/// byte order mark at the start is no part of the first.
///
/// Cutting at bytes is safe in UTF-8: a newline byte is never part of another character.
#[derive(Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Where the next line begins in `buffer`.
    start: usize,
    /// How far `buffer` is known to hold no newline.
    scanned: usize,
    /// Lines given out so far.
    number: u64,
}

impl Lines {
    /// Adds the next piece of the file.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole line with its number, counted from one.
    pub fn next_line(&mut self) -> Option<(u64, &[u8])> {
        let Some(offset) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') else {
            self.scanned = self.buffer.len();
            return None;
        };
        let end = self.scanned + offset;
        let line = self.start..end;
        self.start = end + 1;
        self.scanned = self.start;
        self.number += 1;
        Some((self.number, trimmed(self.number, &self.buffer[line])))
    }

    /// At the end of the file: what follows the last newline, if anything does.
    pub fn last_line(&mut self) -> Option<(u64, &[u8])> {
        if self.start == self.buffer.len() {
            return None;
        }
        let line = self.start..self.buffer.len();
        self.start = line.end;
        self.scanned = line.end;
        self.number += 1;
        Some((self.number, trimmed(self.number, &self.buffer[line])))
    }

    /// Bytes held of a line that has not ended yet.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// The number of the line that has not ended yet.
    pub fn pending_number(&self) -> u64 {
        self.number + 1
    }
}

fn trimmed(number: u64, line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if number == 1 { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) } else { line }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<(u64, Vec<u8>)> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in pieces {
            lines.push(piece);
            while let Some((number, line)) = lines.next_line() {
                found.push((number, line.to_vec()));
            }
        }
        found.extend(lines.last_line().map(|(number, line)| (number, line.to_vec())));
        found
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_where_the_pieces_end(
            text in "\u{FEFF}?([a🎉é\r\n]|\r\n){0,40}",
            cuts in prop::collection::vec(0usize..200, 0..8),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort();
            let found = cut(cuts.windows(2).map(|edge| &bytes[edge[0]..edge[1]]));
            let whole = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
            // A newline ends a line: nothing after the last one is no line.
            let mut expected: Vec<&str> = whole.split('\n').collect();
            if text.is_empty() || text.ends_with('\n') {
                expected.pop();
            }
            let expected: Vec<(u64, Vec<u8>)> = (1..)
                .zip(expected)
                .map(|(number, line)| (number, line.strip_suffix('\r').unwrap_or(line).as_bytes().to_vec()))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
