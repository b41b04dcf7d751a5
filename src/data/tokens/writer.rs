//! Tokens on their way into the store, and the description of what is there.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{DatasetReport, RowIndex};
use crate::bail;
use crate::data::encode::{EncodedRow, EncodedUnit, RowUse};
use crate::data::kv::{Key, Kv, Table, Write};
use crate::data::library::{BadRow, Content, StoredRow, damaged, tell};
use crate::data::notice::Remark;
use crate::error::{Code, Error, Result};

/// Bytes of tokens at which a block ends.
const BLOCK_BYTES: usize = 1 << 16;

/// The description of a token set, written with each of its parts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// What becomes of a row of the dataset.
    #[serde(default)]
    pub(super) rows_as: RowUse,
    /// Blocks of rows that were tokenised.
    pub(super) row_blocks: u32,
    /// Blocks of tokens.
    blocks: u32,
    /// Parts of the index.
    pub(super) parts: u32,
    /// Rows by what is to be said of them.
    #[serde(default)]
    remarks: BTreeMap<Remark, u64>,
    pub(super) report: DatasetReport,
    /// Tokens of the longest row before it is cut.
    #[serde(default)]
    longest_row: u32,
}

impl Progress {
    /// Why there is nothing to train on.
    pub(super) fn nothing_kept(&self) -> Error {
        let DatasetReport { rows, skipped, bad_rows, .. } = &self.report;
        let told = |remark| self.remarks.get(&remark).copied().unwrap_or(0);
        let [answers, prompts] = [Remark::AnswersCut, Remark::PromptsCut].map(told);
        let message = match bad_rows.first() {
            Some(bad) if skipped == rows => {
                let BadRow { file, unit, place, reason } = bad;
                format!("none of {rows} rows can be used; the first is {file} {unit} {place}: {reason}")
            }
            _ if prompts > 0 && prompts + skipped == *rows => format!(
                "max_length cuts every prompt before its answer; raise it, up to {} for all",
                self.longest_row
            ),
            _ if answers + skipped == *rows => format!(
                "max_length cuts every row before anything that is to be learnt; raise it, up to {} for all",
                self.longest_row
            ),
            _ if self.rows_as != RowUse::Supervised => {
                format!(
                    "no answer in any of {rows} rows has a token that is predicted, so there is nothing to learn"
                )
            }
            _ => format!("all labels of all {rows} rows are masked, so there is nothing to learn"),
        };
        Error::new(Code::BadData, message)
    }
}

pub(super) async fn progress(kv: &dyn Kv, id: &str) -> Result<Option<Progress>> {
    let json = kv.get_one(Key::new(Table::TokenSets, id, 0)).await?;
    json.map(|json| serde_json::from_slice(&json).map_err(damaged(id))).transpose()
}

/// Rows on their way into a token set.
pub(super) struct TokenWriter<'a> {
    kv: &'a dyn Kv,
    id: String,
    pub(super) progress: Progress,
    /// Of the rows since the last flush.
    index: RowIndex,
    /// The blocks since the last flush, each with its rows.
    blocks: Vec<(Vec<u8>, u32)>,
}

impl<'a> TokenWriter<'a> {
    pub(super) fn new(kv: &'a dyn Kv, id: &str, rows_as: RowUse) -> Self {
        TokenWriter {
            kv,
            id: id.to_owned(),
            progress: Progress { rows_as, ..Progress::default() },
            index: RowIndex::default(),
            blocks: Vec::new(),
        }
    }

    /// Goes on where an earlier one was flushed last.
    pub(super) async fn open(kv: &'a dyn Kv, id: &str, rows_as: RowUse) -> Result<Self> {
        let new = TokenWriter::new(kv, id, rows_as);
        Ok(match progress(kv, id).await? {
            Some(progress) => TokenWriter { progress, ..new },
            None => new,
        })
    }

    /// Tells how far it is, and stops if asked to.
    pub(super) fn go_on(
        &self,
        content: &Content,
        on_progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<()> {
        let done = self.progress.report.rows;
        if !on_progress(done, content.rows) {
            bail!(Cancelled, "tokenising was stopped after {done} rows");
        }
        Ok(())
    }

    /// Whether an error is a row's own fault, rather than that of the model's files: other rows could be encoded.
    pub(super) fn is_of_the_row(&self, error: &Error) -> bool {
        error.code == Code::BadData || error.code == Code::BadModel && self.progress.report.kept > 0
    }

    /// Counts a row that cannot be encoded.
    pub(super) fn skip(&mut self, row: StoredRow, reason: String) {
        let report = &mut self.progress.report;
        report.rows += 1;
        report.dropped += 1;
        report.skipped += 1;
        tell(&mut report.bad_rows, BadRow { file: row.file, unit: row.unit, place: row.place, reason });
    }

    /// Adds what became of a row of the dataset.
    pub(super) fn add(&mut self, units: &[EncodedUnit], hash: u32) {
        let rows_as = self.progress.rows_as;
        let policy = || units.iter().flat_map(|unit| unit.rows.iter().take(rows_as.policy_rows() as usize));
        let remarks: BTreeSet<Remark> = policy().filter_map(|row| row.remark).collect();
        for remark in remarks {
            *self.progress.remarks.entry(remark).or_default() += 1;
        }
        let longest = policy().map(|row| row.full_length).max().unwrap_or(0);
        self.progress.longest_row = self.progress.longest_row.max(longest);
        let report = &mut self.progress.report;
        let turn = 2 * report.rows as u32;
        report.rows += 1;
        report.truncated += u64::from(policy().any(|row| row.truncated));
        let is_kept = units.iter().any(|unit| unit.is_kept);
        report.kept += u64::from(is_kept);
        report.dropped += u64::from(!is_kept);
        for (turn, unit) in (turn..).zip(units).filter(|(_, unit)| unit.is_kept) {
            self.add_unit(unit, hash, turn);
        }
    }

    fn add_unit(&mut self, unit: &EncodedUnit, hash: u32, turn: u32) {
        let (rows_as, report) = (self.progress.rows_as, &mut self.progress.report);
        for EncodedRow { encoded, .. } in unit.rows.iter().take(rows_as.policy_rows() as usize) {
            report.tokens += encoded.ids.len() as u64;
            report.labelled_tokens += encoded.targets() as u64;
            report.longest = report.longest.max(encoded.ids.len() as u32);
        }
        // The rows of a unit are in one block.
        if self.blocks.last().is_none_or(|(bytes, _)| bytes.len() >= BLOCK_BYTES) {
            self.blocks.push((Vec::with_capacity(BLOCK_BYTES), 0));
        }
        for EncodedRow { encoded, full_length, .. } in &unit.rows {
            let values = [encoded.ids.len() as u32, encoded.targets() as u32, *full_length, hash, turn];
            for (column, value) in self.index.columns_mut(rows_as).zip(values) {
                column.push(value);
            }
            if let Some((bytes, rows)) = self.blocks.last_mut() {
                bytes.extend(encoded.to_bytes());
                *rows += 1;
            }
        }
    }

    /// [`TokenWriter::flush`], unless another tab has come further with the same rows: an older description must not
    /// take the place of a newer one. Then this goes on where that is.
    pub(super) async fn flush_unless_behind(&mut self) -> Result<()> {
        match progress(self.kv, &self.id).await? {
            Some(stored) if stored.row_blocks >= self.progress.row_blocks => {
                let new = TokenWriter::new(self.kv, &self.id, stored.rows_as);
                *self = TokenWriter { progress: stored, ..new };
                Ok(())
            }
            _ => self.flush().await,
        }
    }

    /// Writes what was added since the last time, and the description that knows of it, in one transaction.
    pub(super) async fn flush(&mut self) -> Result<()> {
        let mut changes = Vec::new();
        let index = std::mem::take(&mut self.index);
        let mut part = vec![self.blocks.len() as u32, index.lengths.len() as u32];
        part.extend(self.blocks.iter().map(|(_, rows)| rows));
        for column in index.columns() {
            part.extend(column);
        }
        for (bytes, _) in self.blocks.drain(..) {
            changes.push(Write::Put(Key::new(Table::Tokens, &self.id, self.progress.blocks), bytes));
            self.progress.blocks += 1;
        }
        let part = part.into_iter().flat_map(u32::to_le_bytes).collect();
        changes.push(Write::Put(Key::new(Table::TokenIndex, &self.id, self.progress.parts), part));
        self.progress.parts += 1;
        let notices = self.progress.remarks.iter().map(|(remark, &rows)| remark.of_rows(rows));
        self.progress.report.notices = notices.collect();
        let json = serde_json::to_vec(&self.progress).expect("a description is plain data");
        changes.push(Write::Put(Key::new(Table::TokenSets, &self.id, 0), json));
        self.kv.write(changes).await
    }
}
