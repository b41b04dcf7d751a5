//! A dataset's rows as tokens, made once for a tokenizer and its options and kept.
//!
//! Tokenised rows lie in blocks of some 64 KiB, so that a row in the middle of a gigabyte is one short read
//! away. What a plan needs of every row, its lengths and a hash, stays in memory: 16 bytes a row, 20 of a judged one.
//!
//! A row of the dataset may become two rows of tokens that belong together, a unit (see [`RowUse`]): these follow one
//! another, and whatever chooses among rows chooses among units.

mod selection;
mod writer;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use web_time::Instant;

use super::encode::{Encoded, EncodedRow, EncodedUnit, Encoder, RowUse};
use super::example::Example;
use super::kv::{Key, Kv, Table};
use super::library::{BadRow, Block, Content, OnBadRow, damaged, token_sets};
use super::notice::Notice;
use crate::bail;
use crate::error::{Code, Context, Error, Result};

pub use selection::{Selection, held_out};
use writer::{Progress, TokenWriter, progress};

/// What tokenising found, in rows of the dataset. Of rows of tokens those count that the model is trained on as they are:
/// both of a pair, and of a judged answer the one with its prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetReport {
    /// Rows in the dataset.
    pub rows: u64,
    /// Rows to train on.
    pub kept: u64,
    /// Rows that are not trained on: those without a single target, because all their labels are masked, those without
    /// an answer, and those that were skipped.
    pub dropped: u64,
    /// Rows among these that the chat template or the tokenizer refuses, left out as the import asked.
    #[serde(default)]
    pub skipped: u64,
    /// The first of these.
    #[serde(default)]
    pub bad_rows: Vec<BadRow>,
    /// Rows longer than `max_length`, kept or dropped.
    pub truncated: u64,
    /// Tokens of all kept rows.
    pub tokens: u64,
    /// Targets of all kept rows: labelled tokens other than a row's first.
    pub labelled_tokens: u64,
    /// Tokens of the longest kept row.
    pub longest: u32,
    /// What is worth knowing of how the rows were read.
    #[serde(default)]
    pub notices: Vec<Notice>,
}

/// What is known of each kept row without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowIndex {
    /// Tokens.
    pub lengths: Vec<u32>,
    /// Targets.
    pub targets: Vec<u32>,
    /// Tokens before the row was cut to `max_length`.
    pub full_lengths: Vec<u32>,
    /// Depends on the text of the dataset's row alone and is spread evenly.
    pub hashes: Vec<u32>,
    /// Of judged answers alone, when they are trained on: twice the number of the dataset's row, and one more for the
    /// rejected answer of a pair.
    turns: Vec<u32>,
}

impl RowIndex {
    fn columns(&self) -> [&Vec<u32>; 5] {
        [&self.lengths, &self.targets, &self.full_lengths, &self.hashes, &self.turns]
    }

    /// The columns that such rows have.
    fn columns_mut(&mut self, rows_as: RowUse) -> impl Iterator<Item = &mut Vec<u32>> {
        let count = if rows_as == RowUse::Judged { 5 } else { 4 };
        let RowIndex { lengths, targets, full_lengths, hashes, turns } = self;
        [lengths, targets, full_lengths, hashes, turns].into_iter().take(count)
    }
}

/// The tokenised rows of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSet {
    id: String,
    fingerprint: String,
    pub report: DatasetReport,
    pub index: RowIndex,
    rows_as: RowUse,
    /// The first row of each block.
    block_starts: Vec<u32>,
}

impl TokenSet {
    /// The rows of `content` as `encoder` makes them, see [`tokenize`].
    pub async fn make(
        kv: &dyn Kv,
        content: &Content,
        encoder: &Encoder<'_>,
        on_progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Self> {
        tokenize(kv, content, encoder, on_progress).await?;
        let mut set = TokenSet::open(kv, &set_id(content, encoder)).await?;
        set.fingerprint = format!("{} {}", content.fingerprint, encoder.fingerprint());
        Ok(set)
    }

    /// Rows that are tokens already, unit by unit, stored under `id`.
    pub async fn of_rows(kv: &dyn Kv, id: &str, rows_as: RowUse, rows: &[Encoded]) -> Result<Self> {
        let mut writer = TokenWriter::new(kv, id, rows_as);
        for unit in rows.chunks(rows_as.rows_per_unit() as usize) {
            let row = |row: &Encoded| EncodedRow {
                encoded: row.clone(),
                full_length: row.ids.len() as u32,
                ..EncodedRow::default()
            };
            let is_kept = unit.iter().any(|row| row.targets() > 0);
            writer.add(&[EncodedUnit { rows: unit.iter().map(row).collect(), is_kept }], 0);
        }
        writer.flush().await?;
        TokenSet::open(kv, id).await
    }

    /// Units that are not there: `count` of them, each of whose rows has `length` tokens, all of them labelled, to plan with.
    pub fn alike(count: u32, rows_as: RowUse, length: u32) -> Self {
        let rows = count as usize * rows_as.rows_per_unit() as usize;
        let trained_on = u64::from(count) * u64::from(rows_as.policy_rows());
        let index = RowIndex {
            lengths: vec![length; rows],
            targets: vec![length.saturating_sub(1); rows],
            full_lengths: vec![length; rows],
            hashes: vec![u32::MAX; rows],
            turns: Vec::new(),
        };
        let report = DatasetReport {
            rows: count.into(),
            kept: count.into(),
            tokens: u64::from(length) * trained_on,
            labelled_tokens: u64::from(length.saturating_sub(1)) * trained_on,
            longest: length,
            ..DatasetReport::default()
        };
        let (id, fingerprint, block_starts) = Default::default();
        TokenSet { id, fingerprint, report, index, rows_as, block_starts }
    }

    async fn open(kv: &dyn Kv, id: &str) -> Result<Self> {
        let Some(progress) = progress(kv, id).await? else {
            bail!(BadState, "the tokens {id:?} are gone from the browser's storage");
        };
        let mut set = TokenSet {
            id: id.to_owned(),
            fingerprint: String::new(),
            report: progress.report,
            index: RowIndex::default(),
            rows_as: progress.rows_as,
            block_starts: Vec::new(),
        };
        // Another tab may be writing parts that this description does not know of.
        let parts = kv.scan(Table::TokenIndex, Some(id)).await?;
        for (_, bytes) in parts.iter().take(progress.parts as usize) {
            set.read_part(bytes)?;
        }
        set.report.longest = set.policy_rows().map(|row| set.index.lengths[row as usize]).max().unwrap_or(0);
        Ok(set)
    }

    /// A part of the index: the numbers of blocks and rows, the rows of each block, then the columns.
    fn read_part(&mut self, bytes: &[u8]) -> Result<()> {
        let numbers: Vec<u32> = bytes
            .chunks_exact(4)
            .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect();
        let wrong =
            || Error::new(Code::BadState, format!("the index of the tokens {:?} is damaged", self.id));
        let (&[blocks, rows], rest) = numbers.split_first_chunk().ok_or_else(wrong)?;
        let (blocks, rows) = (blocks as usize, rows as usize);
        let columns = self.index.columns_mut(self.rows_as).count();
        if rest.len() != blocks + columns * rows {
            return Err(wrong());
        }
        let mut start = self.len() as u32;
        for in_block in &rest[..blocks] {
            self.block_starts.push(start);
            start += in_block;
        }
        for (number, column) in self.index.columns_mut(self.rows_as).enumerate() {
            column.extend_from_slice(&rest[blocks + number * rows..][..rows]);
        }
        Ok(())
    }

    /// The name under which it is kept.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The same for the same rows, tokenizer and options.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What becomes of a row of the dataset.
    pub fn rows_as(&self) -> RowUse {
        self.rows_as
    }

    /// The rows that the model is trained on as they are; see [`RowUse::policy_rows`].
    pub fn policy_rows(&self) -> impl Iterator<Item = u32> + Clone {
        let (of_unit, policy) = (self.rows_as.rows_per_unit(), self.rows_as.policy_rows());
        (0..self.len() as u32).filter(move |row| row % of_unit < policy)
    }

    /// Rows of tokens.
    pub fn len(&self) -> usize {
        self.index.lengths.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.lengths.is_empty()
    }

    /// Rows by number, in the order asked for. All blocks that hold them are asked for at once.
    pub async fn get(&self, kv: &dyn Kv, rows: &[u32]) -> Result<Vec<Encoded>> {
        let block_of = |row: u32| self.block_starts.partition_point(|&start| start <= row) - 1;
        let mut blocks: Vec<usize> = rows.iter().map(|&row| block_of(row)).collect();
        blocks.sort_unstable();
        blocks.dedup();
        let keys: Vec<Key> =
            blocks.iter().map(|&block| Key::new(Table::Tokens, &self.id, block as u32)).collect();
        let found = kv.get(&keys).await?;
        let read = |&row: &u32| {
            let block = block_of(row);
            let place = blocks.binary_search(&block).unwrap_or_default();
            let gone =
                || Error::new(Code::BadState, format!("block {block} of the tokens {:?} is gone", self.id));
            let bytes = found[place].as_ref().ok_or_else(gone)?;
            let before = &self.index.lengths[self.block_starts[block] as usize..row as usize];
            let first: usize = before.iter().map(|&length| Encoded::bytes_of(length as usize)).sum();
            let end = first + Encoded::bytes_of(self.index.lengths[row as usize] as usize);
            bytes.get(first..end).ok_or_else(gone).and_then(Encoded::from_bytes)
        };
        rows.iter().map(read).collect()
    }
}

/// Counts up whenever rows become other tokens or labels than before, so that old ones are not taken for them.
const VERSION: u32 = 2;

fn set_id(content: &Content, encoder: &Encoder<'_>) -> String {
    format!("{}/{}.{VERSION}", content.id, encoder.fingerprint())
}

/// How long rows are tokenised before a stop is heard.
const TURN: Duration = Duration::from_millis(200);

/// Tokenises the rows of `content`, as far as that is not done yet. `on_progress` hears rows done and rows
/// in all, and says whether to go on; what was done until then is kept.
///
/// # Errors
///
/// `bad-data` naming the row that cannot be encoded, unless the import asked to leave such rows out, or when no
/// row has a target; `cancelled`; `quota-exceeded`.
pub async fn tokenize(
    kv: &dyn Kv,
    content: &Content,
    encoder: &Encoder<'_>,
    on_progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<DatasetReport> {
    let id = set_id(content, encoder);
    let mut writer = TokenWriter::open(kv, &id, encoder.rows_as()).await?;
    let mut turn = Instant::now();
    while writer.progress.row_blocks < content.blocks() {
        writer.go_on(content, on_progress)?;
        for row in Block::load(kv, &content.id, writer.progress.row_blocks).await?.rows()? {
            if turn.elapsed() > TURN {
                // In a browser a stop is heard while something is awaited.
                progress(kv, &id).await?;
                writer.go_on(content, on_progress)?;
                turn = Instant::now();
            }
            let units = Example::from_json(&row.row).and_then(|example| encoder.units(&example));
            match units {
                Ok(units) => writer.add(&units, selection::split_hash(&row)),
                Err(error) if content.on_bad_row == OnBadRow::Skip && writer.is_of_the_row(&error) => {
                    writer.skip(row, error.message);
                }
                Err(error) => return Err(error).context(row.origin()),
            }
        }
        writer.progress.row_blocks += 1;
        writer.flush_unless_behind().await?;
    }
    on_progress(content.rows, content.rows);
    let report = writer.progress.report.clone();
    if report.labelled_tokens == 0 {
        return Err(writer.progress.nothing_kept());
    }
    Ok(report)
}

/// What was found each time that the rows of a content were tokenised, for whatever model and options.
pub async fn reports(kv: &dyn Kv, content: &Content) -> Result<Vec<DatasetReport>> {
    let read = |(key, json): (Key, Vec<u8>)| {
        let progress: Progress = serde_json::from_slice(&json).map_err(damaged(&key.name))?;
        Ok(progress.report)
    };
    token_sets(kv, &content.id).await?.into_iter().map(read).collect()
}
