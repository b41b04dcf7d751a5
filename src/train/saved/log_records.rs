//! A run's log: records of so many lines each, which are written once they are full and then left alone.

use crate::data::kv::{Key, Kv, Table, Write};
use crate::error::Result;
use crate::train::log::Line;

/// Lines of a record, about 50 KB.
const LINES: usize = 128;

/// Which lines of a run's log are in the store.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogRecords {
    /// From the first on. Others may follow, of steps after the one that the run went back to.
    kept: usize,
}

impl LogRecords {
    /// The first `lines` lines of a run's log, or as many of them as are there.
    pub(super) async fn load(kv: &dyn Kv, run: &str, lines: usize) -> Result<(Self, Vec<Line>)> {
        let mut log = Vec::new();
        for number in 0..lines.div_ceil(LINES) {
            let record = kv.get_one(Key::new(Table::RunLogs, run, number as u32)).await?.unwrap_or_default();
            let texts = record.split(|&byte| byte == b'\n').filter(|text| !text.is_empty());
            let found: Vec<Line> = texts.map_while(|text| serde_json::from_slice(text).ok()).collect();
            let is_full = found.len() == LINES;
            log.extend(found);
            if !is_full {
                break;
            }
        }
        log.truncate(lines);
        Ok((LogRecords { kept: log.len() }, log))
    }

    /// The changes after which the store has all of `log`: those records that are not full yet are written anew.
    pub(super) fn changes(self, run: &str, log: &[Line]) -> Vec<Write> {
        let first = self.kept / LINES;
        let mut changes = vec![Write::RemoveFrom(Key::new(Table::RunLogs, run, first as u32))];
        for (number, lines) in log.chunks(LINES).enumerate().skip(first) {
            let mut record = Vec::new();
            for line in lines {
                serde_json::to_writer(&mut record, line).expect("a line is plain data");
                record.push(b'\n');
            }
            changes.push(Write::Put(Key::new(Table::RunLogs, run, number as u32), record));
        }
        changes
    }

    /// All of a log of so many lines is in the store.
    pub(super) fn keep(&mut self, lines: usize) {
        self.kept = lines;
    }
}
