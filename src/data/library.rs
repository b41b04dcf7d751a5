//! Datasets by name: rows as they were imported, in blocks, with a description that is always true.
//!
//! A description and the blocks that it speaks of change in one transaction. What an import has written so
//! far is described as `pending`, beside the rows that were there before and stay until it is through.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use super::formats::FormatOptions;
use super::kv::{Key, Kv, Table, Write};
use super::notice::Notice;
use super::shape::{Pairs, Reading, Shape};
use crate::bail;
use crate::error::{Code, Error, Result};

/// Bytes of rows at which a block is written.
const BLOCK_BYTES: usize = 1 << 20;
/// Bad rows that are told with their reason; all are counted.
const BAD_ROWS_TOLD: usize = 20;
/// Files left out that are told; a folder may hold thousands of pictures.
const IGNORED_FILES_TOLD: usize = 100;

/// What becomes of a row that cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadRow {
    /// The import ends with an error that names it, and leaves the dataset as it was.
    #[default]
    Stop,
    /// It is left out and counted.
    Skip,
}

/// How files become rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImportOptions {
    /// The names of columns that do not have the usual ones, e.g. `{"prompt": "question"}`.
    pub columns: BTreeMap<String, String>,
    /// What a question and its answer, two texts, become.
    pub pairs: Pairs,
    pub on_bad_row: OnBadRow,
    /// Add to the rows that are there instead of replacing them.
    pub append: bool,
    /// Leave out rows that were seen before in the same import.
    pub deduplicate: bool,
    /// How the text of files is cut into rows.
    pub format: FormatOptions,
}

impl ImportOptions {
    pub(super) fn reading(&self) -> Reading<'_> {
        Reading { names: &self.columns, pairs: self.pairs }
    }
}

/// A row that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    pub file: String,
    /// `"line"` or `"row"`: what `place` counts.
    pub unit: String,
    /// Counted from one.
    pub place: u64,
    pub reason: String,
}

/// A file of a folder or list that was not imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IgnoredFile {
    pub file: String,
    pub reason: String,
}

/// What an import found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// Rows that were kept.
    pub rows: u64,
    /// Rows of each shape among them.
    pub shapes: BTreeMap<Shape, u64>,
    /// Bad rows that were left out.
    pub skipped: u64,
    /// The first of these.
    pub bad_rows: Vec<BadRow>,
    /// Rows that were left out because they had been seen.
    pub duplicates: u64,
    /// Columns that held something and were not used, with the number of rows in which they did.
    pub ignored_columns: BTreeMap<String, u64>,
    /// What is worth knowing of the rows that were kept.
    pub notices: Vec<Notice>,
    /// The first files that lay beside the data and were left out.
    pub ignored_files: Vec<IgnoredFile>,
}

impl ImportReport {
    pub(super) fn skip(&mut self, bad: BadRow) {
        self.skipped += 1;
        tell(&mut self.bad_rows, bad);
    }

    pub(super) fn ignore(&mut self, file: IgnoredFile) {
        if self.ignored_files.len() < IGNORED_FILES_TOLD {
            self.ignored_files.push(file);
        }
    }
}

/// Adds to the bad rows that are told, unless they are many already.
pub(super) fn tell(told: &mut Vec<BadRow>, bad: BadRow) {
    if told.len() < BAD_ROWS_TOLD {
        told.push(bad);
    }
}

/// Rows in blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// What the blocks' keys begin with; never used for other rows.
    pub id: String,
    pub rows: u64,
    /// Bytes of all blocks.
    pub bytes: u64,
    /// Depends on all rows and their order.
    pub fingerprint: String,
    /// Rows of each block.
    pub block_rows: Vec<u32>,
    /// Names of the files that rows came from.
    pub files: Vec<String>,
    /// What becomes of a row that the chat template refuses, which shows when it is tokenised.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
}

impl Content {
    pub fn blocks(&self) -> u32 {
        self.block_rows.len() as u32
    }

    /// Counts `block`, whose last row has fingerprint `chain`, and tells how to write it.
    pub(super) fn add(&mut self, block: &Block, chain: u128) -> Write {
        let (bytes, number) = (block.to_bytes(), self.blocks());
        self.rows += block.len() as u64;
        self.bytes += bytes.len() as u64;
        self.block_rows.push(block.len() as u32);
        self.fingerprint = format!("{chain:032x}");
        Write::Put(Key::new(Table::Rows, &self.id, number), bytes)
    }

    /// The fingerprint as a number; 0 without rows.
    pub(super) fn chain(&self) -> u128 {
        u128::from_str_radix(&self.fingerprint, 16).unwrap_or_default()
    }
}

/// An import that has not come to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    pub content: Content,
    pub options: ImportOptions,
}

/// A dataset without its rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Description {
    pub name: String,
    pub content: Option<Content>,
    pub pending: Option<Pending>,
    /// How many contents there have been.
    generations: u32,
    /// The names that it had before, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<String>,
}

impl Description {
    /// The dataset of that name; an empty one where there is none.
    pub async fn load(kv: &dyn Kv, name: &str) -> Result<Self> {
        match kv.get_one(Key::new(Table::Datasets, name, 0)).await? {
            Some(json) => serde_json::from_slice(&json).map_err(damaged(name)),
            None => Ok(Description { name: name.to_owned(), ..Default::default() }),
        }
    }

    /// The rows of a dataset that has some. Code `bad-state` for one that has none.
    pub async fn rows(kv: &dyn Kv, name: &str) -> Result<Content> {
        let Description { content, pending, .. } = Description::load(kv, name).await?;
        content.ok_or_else(|| {
            let reason = if pending.is_some() { "its import was not finished" } else { "import rows first" };
            Error::new(Code::BadState, format!("dataset {name:?} is empty: {reason}"))
        })
    }

    /// A content without rows that has never been. Rows of a dataset that had this name once have kept theirs.
    pub(super) async fn new_content(&mut self, kv: &dyn Kv) -> Result<Content> {
        let kept = kv.scan(Table::Datasets, None).await?;
        let contents = kept.iter().filter_map(|(_, json)| serde_json::from_slice(json).ok()).flat_map(
            |Description { content, pending, .. }| [content, pending.map(|pending| pending.content)],
        );
        let taken = contents.flatten().filter_map(|content| {
            let (name, generation) = content.id.rsplit_once('/')?;
            generation.parse().ok().filter(|_| name == self.name)
        });
        self.generations = taken.fold(self.generations, u32::max) + 1;
        Ok(Content { id: format!("{}/{}", self.name, self.generations), ..Default::default() })
    }

    pub(super) fn put(&self) -> Write {
        let json = serde_json::to_vec(self).expect("a description is plain data");
        Write::Put(Key::new(Table::Datasets, &self.name, 0), json)
    }
}

/// All datasets, in the order of their names.
pub async fn list(kv: &dyn Kv) -> Result<Vec<Description>> {
    let records = kv.scan(Table::Datasets, None).await?;
    let read = |(key, json): &(Key, Vec<u8>)| serde_json::from_slice(json).map_err(damaged(&key.name));
    records.iter().map(read).collect()
}

/// Removes a dataset with all that was made from it.
pub async fn delete(kv: &dyn Kv, name: &str) -> Result<()> {
    let description = Description::load(kv, name).await?;
    let mut changes = Vec::new();
    for content in
        description.content.iter().chain(description.pending.as_ref().map(|pending| &pending.content))
    {
        changes.extend(removal(kv, &content.id).await?);
    }
    changes.push(Write::RemoveFrom(Key::new(Table::Datasets, name, 0)));
    kv.write(changes).await
}

/// Gives up an import that has not come to its end, and the space it took.
pub async fn discard_pending(kv: &dyn Kv, name: &str) -> Result<()> {
    let mut description = Description::load(kv, name).await?;
    let Some(Pending { content, .. }) = description.pending.take() else { return Ok(()) };
    let kept = description.content.as_ref().filter(|kept| kept.id == content.id);
    let mut changes = match kept {
        // What an import wanted to add lies behind the rows that stay.
        Some(kept) => vec![Write::RemoveFrom(Key::new(Table::Rows, &content.id, kept.blocks()))],
        None => removal(kv, &content.id).await?,
    };
    // A dataset that never had rows leaves nothing behind.
    changes.push(match description.content {
        Some(_) => description.put(),
        None => Write::RemoveFrom(Key::new(Table::Datasets, name, 0)),
    });
    kv.write(changes).await
}

/// Leaves out rows that are the same as an earlier one, and tells how many there were. Code `bad-state` while rows
/// are being added: what was added so far counts from those that are there.
pub async fn deduplicate(kv: &dyn Kv, name: &str) -> Result<u64> {
    let old = Description::rows(kv, name).await?;
    let mut description = Description::load(kv, name).await?;
    if description.pending.as_ref().is_some_and(|pending| pending.content.id == old.id) {
        bail!(
            BadState,
            "rows are being added to dataset {name:?}: resume that import, or discard what is pending"
        );
    }
    let new = description.new_content(kv).await?;
    let mut content = Content { files: old.files.clone(), on_bad_row: old.on_bad_row, ..new };
    kv.write(vec![Write::RemoveFrom(Key::new(Table::Rows, &content.id, 0))]).await?;
    let (mut seen, mut chain) = (HashSet::new(), 0);
    for number in 0..old.blocks() {
        let Block { origin, lines } = Block::load(kv, &old.id, number).await?;
        let mut block = Block::new(&origin.file, &origin.unit);
        for (line, &place) in lines.split(|&byte| byte == b'\n').zip(&origin.places) {
            let hash = xxh3_128(line);
            if seen.insert(hash) {
                chain = chained(chain, hash);
                block.push(place, line);
            }
        }
        if block.len() > 0 {
            kv.write(vec![content.add(&block, chain)]).await?;
        }
    }
    let removed = old.rows - content.rows;
    let mut changes = removal(kv, if removed > 0 { &old.id } else { &content.id }).await?;
    if removed > 0 {
        description.content = Some(content);
        changes.push(description.put());
    }
    kv.write(changes).await?;
    Ok(removed)
}

/// The changes that remove a content's rows, the tokens that were made from them, and what references made of these.
pub(super) async fn removal(kv: &dyn Kv, id: &str) -> Result<Vec<Write>> {
    let mut changes = vec![Write::RemoveFrom(Key::new(Table::Rows, id, 0))];
    for (key, _) in token_sets(kv, id).await? {
        for table in [Table::TokenSets, Table::Tokens, Table::TokenIndex] {
            changes.push(Write::RemoveFrom(Key::new(table, &key.name, 0)));
        }
    }
    let scores = kv.scan(Table::Scores, None).await?;
    let own = scores.into_iter().filter(|(key, _)| is_of(&key.name, id));
    changes.extend(own.map(|(key, _)| Write::RemoveFrom(Key { number: 0, ..key })));
    Ok(changes)
}

/// The descriptions of all tokens that were made from the content `id`.
pub(super) async fn token_sets(kv: &dyn Kv, id: &str) -> Result<Vec<(Key, Vec<u8>)>> {
    let mut records = kv.scan(Table::TokenSets, None).await?;
    records.retain(|(key, _)| is_of(&key.name, id));
    Ok(records)
}

/// Whether what has this name was made from the content `id`.
fn is_of(name: &str, id: &str) -> bool {
    name.rsplit_once('/').is_some_and(|(content, _)| content == id)
}

/// Rows `first..first + count` of a dataset, as they are kept, each with where it came from.
pub async fn rows(kv: &dyn Kv, name: &str, first: u64, count: u64) -> Result<Vec<StoredRow>> {
    let content = Description::rows(kv, name).await?;
    let mut found = Vec::new();
    let mut begin = 0;
    for (number, &in_block) in content.block_rows.iter().enumerate() {
        let end = begin + u64::from(in_block);
        if begin < first + count && first < end {
            let wanted = first.saturating_sub(begin) as usize..((first + count).min(end) - begin) as usize;
            let rows = Block::load(kv, &content.id, number as u32).await?.rows()?;
            found.extend(rows.into_iter().take(wanted.end).skip(wanted.start));
        }
        begin = end;
    }
    Ok(found)
}

/// A row and where it came from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoredRow {
    pub row: Value,
    pub file: String,
    pub unit: String,
    pub place: u64,
    /// Depends on the row alone.
    #[serde(skip)]
    pub hash: u128,
}

impl StoredRow {
    /// E.g. `chats.jsonl line 17`.
    pub fn origin(&self) -> String {
        format!("{} {} {}", self.file, self.unit, self.place)
    }
}

/// Rows that lie in one record: a line of JSON that says where they come from, then one for each row.
pub(super) struct Block {
    origin: Origin,
    lines: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Origin {
    file: String,
    unit: String,
    places: Vec<u64>,
}

impl Block {
    pub fn new(file: &str, unit: &str) -> Self {
        Block {
            origin: Origin { file: file.to_owned(), unit: unit.to_owned(), places: Vec::new() },
            lines: Vec::new(),
        }
    }

    pub fn push(&mut self, place: u64, json: &[u8]) {
        self.origin.places.push(place);
        self.lines.extend_from_slice(json);
        self.lines.push(b'\n');
    }

    pub fn len(&self) -> usize {
        self.origin.places.len()
    }

    pub fn is_full(&self) -> bool {
        self.lines.len() >= BLOCK_BYTES
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(&self.origin).expect("an origin is plain data");
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.lines);
        bytes
    }

    pub async fn load(kv: &dyn Kv, id: &str, number: u32) -> Result<Self> {
        let Some(bytes) = kv.get_one(Key::new(Table::Rows, id, number)).await? else {
            bail!(
                BadState,
                "block {number} of dataset {id:?} is gone from the browser's storage; import it again"
            )
        };
        let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
        let origin = serde_json::from_slice(&bytes[..end]).map_err(damaged(id))?;
        Ok(Block { origin, lines: bytes[(end + 1).min(bytes.len())..].to_vec() })
    }

    pub fn rows(&self) -> Result<Vec<StoredRow>> {
        let lines = self.lines.split(|&byte| byte == b'\n').zip(&self.origin.places);
        let read = |(line, &place): (&[u8], &u64)| {
            Ok(StoredRow {
                row: serde_json::from_slice(line).map_err(damaged(&self.origin.file))?,
                file: self.origin.file.clone(),
                unit: self.origin.unit.clone(),
                place,
                hash: xxh3_128(line),
            })
        };
        lines.map(read).collect()
    }
}

/// The fingerprint of rows that end with one of `hash`, given that of those before it.
pub(super) fn chained(before: u128, hash: u128) -> u128 {
    let mut both = [0; 32];
    both[..16].copy_from_slice(&before.to_le_bytes());
    both[16..].copy_from_slice(&hash.to_le_bytes());
    xxh3_128(&both)
}

pub(super) fn damaged(name: &str) -> impl Fn(serde_json::Error) -> Error {
    move |cause| {
        Error::new(
            Code::BadState,
            format!("the stored dataset {name:?} is damaged ({cause}); import it again"),
        )
    }
}
