//! Records of fields between delimiters, as RFC 4180 has them.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::check_length;
use super::table::{Record, Records};
use crate::bail;
use crate::error::{Error, Result};

/// Quoted fields may hold delimiters, line ends and doubled quotes. A quote that is never closed is an error,
/// since it takes all that follows into one field.
pub struct CsvRecords {
    parser: Reader,
    /// Bytes that no record has taken yet, from `start`.
    buffer: Vec<u8>,
    start: usize,
    finished: bool,
    /// The line of the byte at `start`.
    line: u64,
    /// The line on which the record begins that is being read.
    place: u64,
    /// Bytes of the file that it has taken so far.
    taken: usize,
    /// The bytes of its fields, one behind another, without quotes. What lies past `text_len` is room.
    text: Vec<u8>,
    text_len: usize,
    /// Where each field ends in `text`. What lies past `fields` is room.
    ends: Vec<usize>,
    fields: usize,
}

impl CsvRecords {
    /// Reads from line `line` of the file on.
    pub fn new(delimiter: u8, line: u64) -> Self {
        CsvRecords {
            parser: ReaderBuilder::new().delimiter(delimiter).build(),
            buffer: Vec::new(),
            start: 0,
            finished: false,
            line,
            place: line,
            taken: 0,
            text: Vec::new(),
            text_len: 0,
            ends: Vec::new(),
            fields: 0,
        }
    }

    /// Takes from the buffer what belongs to the record. False where it may go on.
    fn read(&mut self) -> bool {
        // An empty input would mean the end of the file to the parser.
        while self.start < self.buffer.len() {
            let (result, bytes, text, fields) = self.parser.read_record(
                &self.buffer[self.start..],
                &mut self.text[self.text_len..],
                &mut self.ends[self.fields..],
            );
            self.advance(bytes);
            self.taken += bytes;
            self.text_len += text;
            self.fields += fields;
            match result {
                ReadRecordResult::OutputFull => self.text.resize((2 * self.text.len()).max(1024), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize((2 * self.ends.len()).max(16), 0),
                ReadRecordResult::Record => return true,
                ReadRecordResult::InputEmpty | ReadRecordResult::End => break,
            }
        }
        false
    }

    fn advance(&mut self, bytes: usize) {
        let taken = &self.buffer[self.start..self.start + bytes];
        self.line += taken.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.start += bytes;
    }

    /// The record that was read.
    fn record(&self) -> Record {
        let ends = &self.ends[..self.fields];
        let starts = std::iter::once(&0).chain(ends);
        // Cut at ASCII, text in UTF-8 stays it.
        let field =
            |(start, end): (&usize, &usize)| String::from_utf8_lossy(&self.text[*start..*end]).into_owned();
        Record { place: self.place, fields: starts.zip(ends).map(field).collect() }
    }
}

impl Records for CsvRecords {
    fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(piece);
    }

    fn finish(&mut self) {
        self.finished = true;
        // The last record may lack its line end. Where one more is not the record's end, a quote is open.
        self.push(b"\n");
    }

    fn next_record(&mut self, _columns: Option<usize>) -> Result<Option<Record>> {
        if self.taken == 0 {
            let ends = self.buffer[self.start..].iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
            self.advance(ends.count());
            (self.place, self.text_len, self.fields) = (self.line, 0, 0);
        }
        let is_whole = self.read();
        check_length(self.taken, "line", self.place).map_err(|error| Error {
            message: error.message + "; perhaps a quote in it is never closed",
            ..error
        })?;
        if !is_whole {
            if self.finished && self.taken > 0 {
                bail!(BadData, "line {}: a quote in this record is never closed", self.place);
            }
            return Ok(None);
        }
        self.taken = 0;
        Ok(Some(self.record()))
    }
}
