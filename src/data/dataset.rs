//! Importing a JSONL file: read in pieces, checked and encoded row by row, handed to a store in batches.

use crate::bail;
use crate::data::encode::{Encoded, Encoder};
use crate::data::example::Example;
use crate::data::lines::Lines;
use crate::data::store::{DatasetInfo, RowStore};
use crate::error::{Code, Context, Error, Result};
use crate::files::Files;

/// Bytes read at once.
const PIECE: u64 = 1 << 20;
/// The longest line taken. What has none this short is not JSONL, and memory must stay bounded.
const LONGEST_LINE: usize = 16 << 20;
/// A batch goes to the store at so many rows or tokens.
const BATCH_ROWS: usize = 256;
const BATCH_TOKENS: usize = 1 << 16;

/// Imports `file` as dataset `name` of `store`, replacing one that is there.
///
/// Blank lines are skipped. Rows whose labels are all masked are dropped and counted. `on_progress` hears
/// the bytes done and the bytes of the file. Errors of code `bad-data` name the file and the line, and
/// leave no dataset behind. Memory grows only by two numbers a row.
pub async fn import<F: Files, S: RowStore>(
    files: &F,
    file: &str,
    encoder: &Encoder<'_>,
    store: &S,
    name: &str,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<DatasetInfo> {
    store.clear(name).await?;
    let imported =
        Import { encoder, store, name, file, info: DatasetInfo::default(), batch: Vec::new(), tokens: 0 }
            .run(files, on_progress)
            .await;
    if imported.is_err() {
        // The cause of the failure is what the caller must hear, not that tidying up failed as well.
        let _ = store.clear(name).await;
    }
    imported
}

struct Import<'a, S> {
    encoder: &'a Encoder<'a>,
    store: &'a S,
    name: &'a str,
    file: &'a str,
    info: DatasetInfo,
    batch: Vec<Encoded>,
    /// Tokens in `batch`.
    tokens: usize,
}

impl<S: RowStore> Import<'_, S> {
    async fn run<F: Files>(
        mut self,
        files: &F,
        on_progress: &mut dyn FnMut(u64, u64),
    ) -> Result<DatasetInfo> {
        let file = self.file;
        let Some(size) = files.size(file).await? else { bail!(Io, "{file} does not exist") };
        if size == 0 {
            bail!(BadData, "{file} is empty");
        }
        let mut lines = Lines::default();
        let mut done = 0;
        while done < size {
            let length = PIECE.min(size - done);
            lines.push(&files.read(file, done, length as usize).await?);
            done += length;
            while let Some((number, line)) = lines.next_line() {
                self.row(number, line)?;
                if self.batch.len() == BATCH_ROWS || self.tokens >= BATCH_TOKENS {
                    self.flush().await?;
                }
            }
            if lines.pending() > LONGEST_LINE {
                bail!(BadData, "{file} line {}: longer than {LONGEST_LINE} bytes", lines.pending_number());
            }
            on_progress(done, size);
        }
        if let Some((number, line)) = lines.last_line() {
            self.row(number, line)?;
        }
        self.flush().await?;
        let report = &self.info.report;
        if report.rows == 0 {
            bail!(BadData, "{file} has no rows");
        }
        if report.kept == 0 {
            bail!(
                BadData,
                "{file}: all labels of all {} rows are masked, so there is nothing to learn",
                report.rows
            );
        }
        self.store.finish(self.name, &self.info).await?;
        Ok(self.info)
    }

    fn row(&mut self, number: u64, line: &[u8]) -> Result<()> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let encoded = std::str::from_utf8(line)
            .map_err(|cause| Error::new(Code::BadData, format!("not UTF-8: {cause}")))
            .and_then(Example::from_json_line)
            .and_then(|example| self.encoder.encode(&example))
            .context(format_args!("{} line {number}", self.file))?;

        let (row, report) = (encoded.encoded, &mut self.info.report);
        report.rows += 1;
        report.truncated += u64::from(encoded.truncated);
        let targets = row.targets();
        if targets == 0 {
            report.dropped += 1;
            return Ok(());
        }
        report.kept += 1;
        report.tokens += row.ids.len() as u64;
        report.labelled_tokens += targets as u64;
        report.longest = report.longest.max(row.ids.len() as u32);
        self.info.lengths.push(row.ids.len() as u32);
        self.info.targets.push(targets as u32);
        self.tokens += row.ids.len();
        self.batch.push(row);
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        if !self.batch.is_empty() {
            let first = self.info.lengths.len() - self.batch.len();
            self.store.append(self.name, first as u32, &self.batch).await?;
            self.batch.clear();
            self.tokens = 0;
        }
        Ok(())
    }
}
