//! Files into a dataset: read in pieces, checked row by row, written block by block.

use std::collections::HashSet;
use std::rc::Rc;

use xxhash_rust::xxh3::xxh3_128;

use super::formats::{Format, RawRow, Reader};
use super::inspect::{EmptyCells, NO_HEADER, looks_like_a_row};
use super::kv::{Key, Kv, Table, Write};
use super::library::{
    BadRow, Block, Content, Description, IgnoredFile, ImportOptions, ImportReport, OnBadRow, Pending,
    chained, discard_pending, removal,
};
use super::shape::{check_names, columns, keep};
use crate::bail;
use crate::error::{Code, Context, Error, Result};
use crate::files::Files;

/// An import on its way: `begin_file`, `push` and `end_file` for each file, then `finish`.
///
/// Rows are written in whole blocks, each in one transaction with the description, so what is stored is
/// always whole up to a known row. One that is left without `finish` stays pending and can be resumed: the
/// files are read from their start again, and what was stored is compared instead of written.
pub struct Importer {
    kv: Rc<dyn Kv>,
    description: Description,
    options: ImportOptions,
    /// What will be the dataset's content.
    content: Content,
    chain: u128,
    /// What an earlier, interrupted import had written.
    stored: Option<Content>,
    /// Whether the description is in the store.
    is_described: bool,
    seen: HashSet<u128>,
    file: Option<OpenFile>,
    empty: EmptyCells,
    report: ImportReport,
}

struct OpenFile {
    name: String,
    reader: Reader,
    block: Block,
}

impl OpenFile {
    /// What the places of its rows count.
    fn unit(&self) -> &'static str {
        self.reader.format().map_or("line", Format::unit)
    }

    /// The block so far, in place of which an empty one follows.
    fn take_block(&mut self) -> Block {
        let next = Block::new(&self.name, self.unit());
        std::mem::replace(&mut self.block, next)
    }
}

impl Importer {
    /// Begins an import into dataset `name`. With `resume` it goes on with one that was interrupted, which
    /// must have had the same options; where there was none, it begins anew.
    pub async fn begin(kv: Rc<dyn Kv>, name: &str, options: ImportOptions, resume: bool) -> Result<Self> {
        check_names(&options.columns)?;
        let mut description = Description::load(&kv, name).await?;
        if !resume && description.pending.is_some() {
            discard_pending(&kv, name).await?;
            description = Description::load(&kv, name).await?;
        }
        let pending = description.pending.take();
        if pending.as_ref().is_some_and(|pending| pending.options != options) {
            bail!(BadOption, "the import to be resumed was begun with other options");
        }
        let stored = pending.map(|pending| pending.content);
        let mut content = match (&description.content, &stored) {
            (Some(content), _) if options.append => content.clone(),
            (_, Some(stored)) => Content { id: stored.id.clone(), ..Default::default() },
            _ => {
                let content = description.new_content(&kv).await?;
                // What was written under this name by an import that broke off before its first description.
                kv.write(vec![Write::RemoveFrom(Key::new(Table::Rows, &content.id, 0))]).await?;
                content
            }
        };
        // Rows that are there already may be left out as their own import said.
        if !(options.append && content.on_bad_row == OnBadRow::Skip) {
            content.on_bad_row = options.on_bad_row;
        }
        let is_described = description.content.is_some() || stored.is_some();
        let chain = content.chain();
        let (seen, empty, report) = Default::default();
        Ok(Importer {
            kv,
            description,
            options,
            content,
            chain,
            stored,
            is_described,
            seen,
            file: None,
            empty,
            report,
        })
    }

    /// The next file, by the name that errors give it. Its format is told by the name and the first bytes, unless
    /// a program made the bytes from rows of its own and says which format they have.
    pub fn begin_file(&mut self, name: &str, format: Option<Format>) -> Result<()> {
        let options = &self.options.format;
        let reader = match format {
            Some(format) => Reader::new(format, options),
            None => Reader::of_file(name, options),
        }?;
        self.content.files.push(name.to_owned());
        self.file = Some(OpenFile { name: name.to_owned(), reader, block: Block::new(name, "line") });
        Ok(())
    }

    /// Notes a file that is not imported, and why.
    pub fn ignore_file(&mut self, file: &str, reason: &str) {
        self.report.ignore(IgnoredFile { file: file.to_owned(), reason: reason.to_owned() });
    }

    /// The next bytes of the file.
    pub async fn push(&mut self, piece: &[u8]) -> Result<()> {
        let Some(file) = &mut self.file else { bail!(BadState, "no file was begun") };
        file.reader.push(piece);
        let taken = self.take_rows().await;
        self.settled(taken).await
    }

    /// No more bytes follow in this file.
    pub async fn end_file(&mut self) -> Result<()> {
        if let Some(file) = &mut self.file {
            file.reader.finish();
        }
        let taken = match self.take_rows().await {
            Ok(()) => self.flush().await,
            error => error,
        };
        self.file = None;
        self.settled(taken).await
    }

    /// Makes the rows the dataset's content. An import without a row is an error of code `bad-data`.
    pub async fn finish(mut self) -> Result<ImportReport> {
        if self.stored.is_some() {
            return Err(self.other_files());
        }
        if self.report.rows == 0 {
            let why = self.report.bad_rows.first().map_or(String::new(), |bad| {
                let BadRow { file, unit, place, reason } = bad;
                format!("; the first of {} bad ones, {file} {unit} {place}: {reason}", self.report.skipped)
            });
            bail!(BadData, "{} has no rows to keep{why}", self.content.files.join(", "));
        }
        self.report.notices.extend(self.empty.notices(self.report.rows));
        let mut changes = Vec::new();
        if let Some(old) = self.description.content.as_ref().filter(|old| old.id != self.content.id) {
            changes = removal(&self.kv, &old.id).await?;
        }
        self.description.content = Some(std::mem::take(&mut self.content));
        self.write(changes).await?;
        Ok(self.report)
    }

    /// Rows kept so far.
    pub fn report(&self) -> &ImportReport {
        &self.report
    }

    /// Gives up the import and what it has stored, unless it can be resumed after this error.
    async fn settled(&self, result: Result<()>) -> Result<()> {
        if let Err(Error { code: Code::BadData | Code::QuotaExceeded, .. }) = &result {
            // On a full disk this may fail as well. What a person has to know is why the import ended; the next
            // import discards what is left.
            let _ = discard_pending(&self.kv, &self.description.name).await;
        }
        result
    }

    fn other_files(&self) -> Error {
        let files = self.content.files.join(", ");
        Error::new(
            Code::BadOption,
            format!("{files}: not what was being imported; its rows differ from those stored"),
        )
    }

    async fn take_rows(&mut self) -> Result<()> {
        loop {
            let Some(OpenFile { name, reader, block }) = &mut self.file else { return Ok(()) };
            let Some(raw) = reader.next_row().context(&*name)? else { return Ok(()) };
            if block.len() == 0 {
                *block = Block::new(name, reader.format().map_or("line", Format::unit));
            }
            self.row(raw)?;
            if self.file.as_ref().is_some_and(|file| file.block.is_full()) {
                self.flush().await?;
            }
        }
    }

    fn row(&mut self, raw: RawRow) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let kept = match columns(raw.value).and_then(|row| keep(&row, self.options.reading())) {
            Ok(kept) => kept,
            Err(error) => {
                let bad = BadRow {
                    file: file.name.clone(),
                    unit: file.unit().to_owned(),
                    place: raw.place,
                    reason: match looks_like_a_row(file.reader.header(), &self.options) {
                        true => format!("{}; {NO_HEADER}", error.message),
                        false => error.message,
                    },
                };
                if self.options.on_bad_row == OnBadRow::Stop {
                    return Err(Error::new(Code::BadData, bad.reason))
                        .context(format_args!("{} {} {}", bad.file, bad.unit, bad.place));
                }
                self.report.skip(bad);
                return Ok(());
            }
        };
        let json = kept.row.to_string();
        let hash = xxh3_128(json.as_bytes());
        if self.options.deduplicate && !self.seen.insert(hash) {
            self.report.duplicates += 1;
            return Ok(());
        }
        self.empty.add(&kept);
        for column in kept.ignored {
            *self.report.ignored_columns.entry(column).or_default() += 1;
        }
        self.chain = chained(self.chain, hash);
        file.block.push(raw.place, json.as_bytes());
        self.report.rows += 1;
        *self.report.shapes.entry(kept.mapping.shape).or_default() += 1;
        Ok(())
    }

    /// Writes the block, unless an earlier import has: then what was stored must be the same.
    async fn flush(&mut self) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if file.block.len() == 0 {
            return Ok(());
        }
        let block = file.take_block();
        let put = self.content.add(&block, self.chain);
        if let Some(stored) = &self.stored {
            if stored.blocks() == self.content.blocks() {
                if stored.fingerprint != self.content.fingerprint {
                    return Err(self.other_files());
                }
                self.stored = None;
            }
            return Ok(());
        }
        let content = self.content.clone();
        self.description.pending = Some(Pending { content, options: self.options.clone() });
        let written = self.write(vec![put]).await;
        self.description.pending = None;
        written
    }

    /// Makes these changes and stores the description with them.
    ///
    /// The browser may have cleared the site's data since the last time. Then rows are missing that the
    /// description counts, and the import ends with code `bad-state`.
    async fn write(&mut self, mut changes: Vec<Write>) -> Result<()> {
        let key = Key::new(Table::Datasets, &self.description.name, 0);
        if self.is_described && self.kv.get_one(key).await?.is_none() {
            let name = &self.description.name;
            bail!(BadState, "the browser cleared dataset {name:?} during its import; import it again");
        }
        changes.push(self.description.put());
        self.kv.write(changes).await?;
        self.is_described = true;
        Ok(())
    }
}

/// Imports one file of a folder into dataset `name`. `on_progress` hears the bytes done and the bytes of
/// the file.
pub async fn import_file(
    kv: Rc<dyn Kv>,
    name: &str,
    files: &dyn Files,
    file: &str,
    options: ImportOptions,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<ImportReport> {
    const PIECE: u64 = 1 << 20;
    let Some(size) = files.size(file).await? else { bail!(Io, "{file} does not exist") };
    let mut importer = Importer::begin(kv, name, options, false).await?;
    importer.begin_file(file, None)?;
    let mut done = 0;
    while done < size {
        let length = PIECE.min(size - done);
        importer.push(&files.read(file, done, length as usize).await?).await?;
        done += length;
        on_progress(done, size);
    }
    importer.end_file().await?;
    importer.finish().await
}
