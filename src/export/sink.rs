//! Where files go, and the one place that writes to it.

use serde::Serialize;

use crate::bail;
use crate::error::Result;
use crate::files::PIECE_BYTES;

/// A place for files, which are written one after the other, each front to back.
#[async_trait::async_trait(?Send)]
pub trait Sink {
    /// Begins the file `name` of `bytes` bytes.
    async fn create(&mut self, name: &str, bytes: u64) -> Result<()>;

    /// Appends a piece of at most [`PIECE_BYTES`] to the file that was begun.
    async fn write(&mut self, piece: &[u8]) -> Result<()>;

    /// The file that was begun is whole. One that was not finished must not be taken for a whole one.
    async fn finish(&mut self) -> Result<()>;
}

/// How far an export is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExportProgress {
    /// Bytes of all files so far.
    pub written: u64,
    /// Bytes that all files take together.
    pub total: u64,
    /// The file that is being written.
    pub file: String,
}

/// Hears of each piece; `false` ends the export.
pub type OnProgress<'a> = &'a mut dyn FnMut(&ExportProgress) -> bool;

/// Collects what is written into pieces, tells the progress, and stops when it is asked to.
pub(super) struct Writer<'a> {
    sink: &'a mut dyn Sink,
    on_progress: OnProgress<'a>,
    progress: ExportProgress,
    piece: Vec<u8>,
    /// What the file that was begun still lacks.
    left: u64,
}

impl<'a> Writer<'a> {
    pub fn new(sink: &'a mut dyn Sink, on_progress: OnProgress<'a>) -> Self {
        let progress = ExportProgress { written: 0, total: 0, file: String::new() };
        Writer { sink, on_progress, progress, piece: Vec::new(), left: 0 }
    }

    /// Says what all files take together.
    pub fn expect(&mut self, total: u64) {
        self.progress.total = total;
    }

    pub async fn create(&mut self, name: &str, bytes: u64) -> Result<()> {
        self.progress.file = name.to_owned();
        self.left = bytes;
        self.sink.create(name, bytes).await
    }

    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == PIECE_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    pub async fn finish(&mut self) -> Result<()> {
        self.flush().await?;
        if self.left != 0 {
            bail!(Internal, "{}: {} bytes were not written", self.progress.file, self.left);
        }
        self.sink.finish().await
    }

    /// Writes a small file at once.
    pub async fn file(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.create(name, bytes.len() as u64).await?;
        self.write(bytes).await?;
        self.finish().await
    }

    async fn flush(&mut self) -> Result<()> {
        let written = self.piece.len() as u64;
        let Some(left) = self.left.checked_sub(written) else {
            bail!(Internal, "{}: {} bytes too many came", self.progress.file, written - self.left);
        };
        self.sink.write(&self.piece).await?;
        self.piece.clear();
        self.left = left;
        self.progress.written += written;
        if !(self.on_progress)(&self.progress) {
            bail!(Cancelled, "the export was cancelled");
        }
        Ok(())
    }
}
