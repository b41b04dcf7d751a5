//! A dataset's rows as tokens, made once for a tokenizer and its options and kept.
//!
//! Tokenised rows lie in blocks of some 64 KiB, so that a row in the middle of a gigabyte is one short read
//! away. What a plan needs of every row, its lengths and a hash, stays in memory: 16 bytes a row.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use web_time::Instant;

use super::encode::{Encoded, EncodedRow, Encoder};
use super::example::Example;
use super::kv::{Key, Kv, Table, Write};
use super::library::{BadRow, Block, Content, OnBadRow, StoredRow, damaged, tell, token_sets};
use super::notice::{Notice, Remark};
use crate::bail;
use crate::error::{Code, Context, Error, Result};

/// Bytes of tokens at which a block ends.
const BLOCK_BYTES: usize = 1 << 16;

/// What tokenising found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetReport {
    /// Rows in the dataset.
    pub rows: u64,
    /// Rows to train on.
    pub kept: u64,
    /// Rows that are not trained on: those without a single target, because all their labels are masked, and
    /// those that were skipped.
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
    /// Depends on the row's text alone and is spread evenly.
    pub hashes: Vec<u32>,
}

impl RowIndex {
    fn columns(&self) -> [&Vec<u32>; 4] {
        [&self.lengths, &self.targets, &self.full_lengths, &self.hashes]
    }

    fn columns_mut(&mut self) -> [&mut Vec<u32>; 4] {
        [&mut self.lengths, &mut self.targets, &mut self.full_lengths, &mut self.hashes]
    }
}

/// The description of a token set, written with each of its parts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Progress {
    /// Blocks of rows that were tokenised.
    row_blocks: u32,
    /// Blocks of tokens.
    blocks: u32,
    /// Parts of the index.
    parts: u32,
    /// Rows by what is to be said of them.
    #[serde(default)]
    remarks: BTreeMap<Remark, u64>,
    report: DatasetReport,
    /// Tokens of the longest row before it is cut.
    #[serde(default)]
    longest_row: u32,
}

/// The tokenised rows of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSet {
    id: String,
    fingerprint: String,
    pub report: DatasetReport,
    pub index: RowIndex,
    /// The first row of each block.
    block_starts: Vec<u32>,
}

impl TokenSet {
    /// The rows of `content` as `encoder` makes them, see [`tokenize`].
    pub async fn make(
        kv: &impl Kv,
        content: &Content,
        encoder: &Encoder<'_>,
        on_progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Self> {
        tokenize(kv, content, encoder, on_progress).await?;
        let mut set = TokenSet::open(kv, &set_id(content, encoder)).await?;
        set.fingerprint = format!("{} {}", content.fingerprint, encoder.fingerprint());
        Ok(set)
    }

    /// Rows that are tokens already, stored under `id`.
    pub async fn of_rows(kv: &impl Kv, id: &str, rows: &[Encoded]) -> Result<Self> {
        let mut writer = TokenWriter::new(kv, id);
        for row in rows {
            let full_length = row.ids.len() as u32;
            let row = EncodedRow { encoded: row.clone(), full_length, ..EncodedRow::default() };
            writer.add(&row, 0);
        }
        writer.flush().await?;
        TokenSet::open(kv, id).await
    }

    /// Rows that are not there: `count` of `length` tokens, all of them labelled, to plan with.
    pub fn alike(count: u32, length: u32) -> Self {
        let (rows, per_row) = (count as usize, u64::from(length));
        let index = RowIndex {
            lengths: vec![length; rows],
            targets: vec![length.saturating_sub(1); rows],
            full_lengths: vec![length; rows],
            hashes: vec![u32::MAX; rows],
        };
        let report = DatasetReport {
            rows: count.into(),
            kept: count.into(),
            tokens: per_row * u64::from(count),
            labelled_tokens: per_row.saturating_sub(1) * u64::from(count),
            longest: length,
            ..DatasetReport::default()
        };
        TokenSet { id: String::new(), fingerprint: String::new(), report, index, block_starts: Vec::new() }
    }

    async fn open(kv: &impl Kv, id: &str) -> Result<Self> {
        let Some(progress) = progress(kv, id).await? else {
            bail!(BadState, "the tokens {id:?} are gone from the browser's storage");
        };
        let mut set = TokenSet {
            id: id.to_owned(),
            fingerprint: String::new(),
            report: progress.report,
            index: RowIndex::default(),
            block_starts: Vec::new(),
        };
        // Another tab may be writing parts that this description does not know of.
        let parts = kv.scan(Table::TokenIndex, Some(id)).await?;
        for (_, bytes) in parts.iter().take(progress.parts as usize) {
            set.read_part(bytes)?;
        }
        set.report.longest = set.index.lengths.iter().copied().max().unwrap_or(0);
        Ok(set)
    }

    /// A part of the index: the numbers of blocks and rows, the rows of each block, then four numbers a row.
    fn read_part(&mut self, bytes: &[u8]) -> Result<()> {
        let numbers: Vec<u32> = bytes
            .chunks_exact(4)
            .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect();
        let wrong =
            || Error::new(Code::BadState, format!("the index of the tokens {:?} is damaged", self.id));
        let (&[blocks, rows], rest) = numbers.split_first_chunk().ok_or_else(wrong)?;
        let (blocks, rows) = (blocks as usize, rows as usize);
        if rest.len() != blocks + 4 * rows {
            return Err(wrong());
        }
        let mut start = self.len() as u32;
        for in_block in &rest[..blocks] {
            self.block_starts.push(start);
            start += in_block;
        }
        for (number, column) in self.index.columns_mut().into_iter().enumerate() {
            column.extend_from_slice(&rest[blocks + number * rows..][..rows]);
        }
        Ok(())
    }

    /// The same for the same rows, tokenizer and options.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Rows to train on.
    pub fn len(&self) -> usize {
        self.index.lengths.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.lengths.is_empty()
    }

    /// Rows by number, in the order asked for. All blocks that hold them are asked for at once.
    pub async fn get(&self, kv: &impl Kv, rows: &[u32]) -> Result<Vec<Encoded>> {
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
    kv: &impl Kv,
    content: &Content,
    encoder: &Encoder<'_>,
    on_progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<DatasetReport> {
    let id = set_id(content, encoder);
    let mut writer = TokenWriter::open(kv, &id).await?;
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
            let encoded = Example::from_json(&row.row).and_then(|example| encoder.encode(&example));
            match encoded {
                Ok(encoded) => writer.add(&encoded, (row.hash >> 96) as u32),
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
    if report.kept == 0 {
        return Err(writer.progress.nothing_kept());
    }
    Ok(report)
}

impl Progress {
    /// Why there is nothing to train on.
    fn nothing_kept(&self) -> Error {
        let DatasetReport { rows, skipped, bad_rows, .. } = &self.report;
        let cut = self.remarks.get(&Remark::AnswersCut).copied().unwrap_or(0);
        let message = match bad_rows.first() {
            Some(bad) if skipped == rows => {
                let BadRow { file, unit, place, reason } = bad;
                format!("none of {rows} rows can be used; the first is {file} {unit} {place}: {reason}")
            }
            _ if cut + skipped == *rows => format!(
                "max_length cuts every row before anything that is to be learnt; raise it, up to {} for all",
                self.longest_row
            ),
            _ => format!("all labels of all {rows} rows are masked, so there is nothing to learn"),
        };
        Error::new(Code::BadData, message)
    }
}

/// Rows of a token set.
#[derive(Clone, Debug)]
pub struct Selection {
    pub set: Rc<TokenSet>,
    pub rows: Vec<u32>,
}

impl Selection {
    /// All rows.
    pub fn all(set: Rc<TokenSet>) -> Self {
        let rows = (0..set.len() as u32).collect();
        Selection { set, rows }
    }

    /// All rows, and of these apart the share `test_size`, between 0 and 1, whose hashes are the least: a
    /// row that is held out stays so when others come or go, and equal rows stay together. Where that would leave
    /// no row on one side, as with few rows, the row of the least hash is held out, or that of the greatest is not.
    pub fn split(set: Rc<TokenSet>, test_size: f64) -> [Self; 2] {
        let hashes = &set.index.hashes;
        let mut bound = test_size * 2f64.powi(32);
        if let (Some(&least), Some(&greatest)) = (hashes.iter().min(), hashes.iter().max())
            && test_size > 0.0
        {
            bound = bound.max(f64::from(least) + 1.0).min(f64::from(greatest));
        }
        let is_held_out = |&row: &u32| f64::from(hashes[row as usize]) < bound;
        let (held_out, rows) = (0..set.len() as u32).partition(is_held_out);
        [Selection { set: set.clone(), rows }, Selection { set, rows: held_out }]
    }

    /// At most so many of these rows, spread evenly over them.
    pub fn sample(self, most: u32) -> Self {
        let (count, len) = (u64::from(most).min(self.rows.len() as u64), self.rows.len() as u64);
        let rows = (0..count).map(|number| self.rows[(number * len / count) as usize]).collect();
        Selection { set: self.set, rows }
    }
}

/// What was found each time that the rows of a content were tokenised, for whatever model and options.
pub async fn reports(kv: &impl Kv, content: &Content) -> Result<Vec<DatasetReport>> {
    let read = |(key, json): (Key, Vec<u8>)| {
        let progress: Progress = serde_json::from_slice(&json).map_err(damaged(&key.name))?;
        Ok(progress.report)
    };
    token_sets(kv, &content.id).await?.into_iter().map(read).collect()
}

async fn progress(kv: &impl Kv, id: &str) -> Result<Option<Progress>> {
    let json = kv.get_one(Key::new(Table::TokenSets, id, 0)).await?;
    json.map(|json| serde_json::from_slice(&json).map_err(damaged(id))).transpose()
}

/// Rows on their way into a token set.
struct TokenWriter<'a, K> {
    kv: &'a K,
    id: String,
    progress: Progress,
    /// Of the rows since the last flush.
    index: RowIndex,
    /// The blocks since the last flush, each with its rows.
    blocks: Vec<(Vec<u8>, u32)>,
}

impl<'a, K: Kv> TokenWriter<'a, K> {
    fn new(kv: &'a K, id: &str) -> Self {
        TokenWriter {
            kv,
            id: id.to_owned(),
            progress: Progress::default(),
            index: RowIndex::default(),
            blocks: Vec::new(),
        }
    }

    /// Goes on where an earlier one was flushed last.
    async fn open(kv: &'a K, id: &str) -> Result<Self> {
        let progress = progress(kv, id).await?.unwrap_or_default();
        Ok(TokenWriter { progress, ..TokenWriter::new(kv, id) })
    }

    /// Tells how far it is, and stops if asked to.
    fn go_on(&self, content: &Content, on_progress: &mut dyn FnMut(u64, u64) -> bool) -> Result<()> {
        let done = self.progress.report.rows;
        if !on_progress(done, content.rows) {
            bail!(Cancelled, "tokenising was stopped after {done} rows");
        }
        Ok(())
    }

    /// Whether an error is a row's own fault, rather than that of the model's files: other rows could be encoded.
    fn is_of_the_row(&self, error: &Error) -> bool {
        error.code == Code::BadData || error.code == Code::BadModel && self.progress.report.kept > 0
    }

    /// Counts a row that cannot be encoded.
    fn skip(&mut self, row: StoredRow, reason: String) {
        let report = &mut self.progress.report;
        report.rows += 1;
        report.dropped += 1;
        report.skipped += 1;
        tell(&mut report.bad_rows, BadRow { file: row.file, unit: row.unit, place: row.place, reason });
    }

    fn add(&mut self, row: &EncodedRow, hash: u32) {
        if let Some(remark) = row.remark {
            *self.progress.remarks.entry(remark).or_default() += 1;
        }
        self.progress.longest_row = self.progress.longest_row.max(row.full_length);
        let (encoded, report) = (&row.encoded, &mut self.progress.report);
        let targets = encoded.targets();
        report.rows += 1;
        report.truncated += u64::from(row.truncated);
        if targets == 0 {
            report.dropped += 1;
            return;
        }
        let length = encoded.ids.len() as u32;
        report.kept += 1;
        report.tokens += u64::from(length);
        report.labelled_tokens += targets as u64;
        report.longest = report.longest.max(length);
        for (column, value) in
            self.index.columns_mut().into_iter().zip([length, targets as u32, row.full_length, hash])
        {
            column.push(value);
        }
        if self.blocks.last().is_none_or(|(bytes, _)| bytes.len() >= BLOCK_BYTES) {
            self.blocks.push((Vec::with_capacity(BLOCK_BYTES), 0));
        }
        if let Some((bytes, rows)) = self.blocks.last_mut() {
            bytes.extend(encoded.to_bytes());
            *rows += 1;
        }
    }

    /// [`TokenWriter::flush`], unless another tab has come further with the same rows: an older description must not
    /// take the place of a newer one. Then this goes on where that is.
    async fn flush_unless_behind(&mut self) -> Result<()> {
        match progress(self.kv, &self.id).await? {
            Some(stored) if stored.row_blocks >= self.progress.row_blocks => {
                *self = TokenWriter { progress: stored, ..TokenWriter::new(self.kv, &self.id) };
                Ok(())
            }
            _ => self.flush().await,
        }
    }

    /// Writes what was added since the last time, and the description that knows of it, in one transaction.
    async fn flush(&mut self) -> Result<()> {
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
