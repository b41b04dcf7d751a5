//! Random access to the files of a model, wherever they lie.

mod outside;

use std::cell::RefCell;

use xxhash_rust::xxh3::Xxh3;

use crate::error::Result;
#[cfg(not(target_arch = "wasm32"))]
use crate::error::{Code, Error};

pub use outside::Outside;

/// The most bytes of anything large that are on the host at once on their way between files, the GPU and JavaScript. A
/// row that is longer passes whole.
pub const PIECE_BYTES: usize = 4 << 20;

/// A folder of files that can be read in pieces: a directory on disk, the `File`s a person picked
/// in a browser, or a server that answers range requests. Nothing is read as a whole unless asked.
///
/// Futures are not `Send`: in a browser everything lives in one worker.
#[async_trait::async_trait(?Send)]
pub trait Files {
    /// The length of `name` in bytes, or `None` where there is no such file.
    async fn size(&self, name: &str) -> Result<Option<u64>>;

    /// The folder as a person knows it: a hub's id, an address or a path. `None` where it has no name.
    fn place(&self) -> Option<String> {
        None
    }

    /// The name of the GGUF that is the model, or of its first part. `None` where the model is a folder of Hugging Face's.
    fn gguf(&self) -> Option<String> {
        None
    }

    /// Bytes `start..start + len` of `name`. Fewer bytes than asked is an error of code `io`.
    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>>;
}

/// Files that add up what is read of them, in the order of the reads. The first form of saved runs knows its model by
/// this, so the order in which a model is read may not change.
pub struct AsRead<'a> {
    files: &'a dyn Files,
    sum: RefCell<Xxh3>,
}

impl<'a> AsRead<'a> {
    pub fn new(files: &'a dyn Files) -> Self {
        AsRead { files, sum: RefCell::new(Xxh3::new()) }
    }

    /// Depends on all bytes that were read so far.
    pub fn sum(&self) -> u128 {
        self.sum.borrow().digest128()
    }
}

#[async_trait::async_trait(?Send)]
impl Files for AsRead<'_> {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        self.files.size(name).await
    }

    fn place(&self) -> Option<String> {
        self.files.place()
    }

    fn gguf(&self) -> Option<String> {
        self.files.gguf()
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        let bytes = self.files.read(name, start, len).await?;
        self.sum.borrow_mut().update(&bytes);
        Ok(bytes)
    }
}

/// A folder on disk.
#[cfg(not(target_arch = "wasm32"))]
pub struct Directory(pub std::path::PathBuf);

#[cfg(not(target_arch = "wasm32"))]
#[async_trait::async_trait(?Send)]
impl Files for Directory {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        let path = self.0.join(name);
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::new(Code::Io, format!("{}: {error}", path.display()))),
        }
    }

    /// From the root, so that it means the same wherever it is read.
    fn place(&self) -> Option<String> {
        Some(std::path::absolute(&self.0).unwrap_or_else(|_| self.0.clone()).display().to_string())
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        use std::io::{Read, Seek, SeekFrom};
        let path = self.0.join(name);
        let mut bytes = vec![0; len];
        let mut read = || {
            let mut file = std::fs::File::open(&path)?;
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut bytes)
        };
        read().map_err(|error| Error::new(Code::Io, format!("{}: {error}", path.display())))?;
        Ok(bytes)
    }
}

/// Whether a path ends in `.gguf`, in letters of either case.
#[cfg(not(target_arch = "wasm32"))]
pub fn is_gguf(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// A model on disk: a folder, or a GGUF.
#[cfg(not(target_arch = "wasm32"))]
pub struct ModelPath {
    folder: Directory,
    /// The name of the GGUF in the folder.
    gguf: Option<String>,
}

#[cfg(not(target_arch = "wasm32"))]
impl ModelPath {
    /// The path of a GGUF, see [`is_gguf`], is that of a file.
    pub fn new(path: &std::path::Path) -> Self {
        let name = path.file_name().filter(|_| is_gguf(path)).map(|name| name.to_string_lossy().into_owned());
        match name {
            Some(name) => ModelPath {
                folder: Directory(path.parent().map_or_else(Default::default, std::path::Path::to_owned)),
                gguf: Some(name),
            },
            None => ModelPath { folder: Directory(path.to_owned()), gguf: None },
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
#[async_trait::async_trait(?Send)]
impl Files for ModelPath {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        self.folder.size(name).await
    }

    fn place(&self) -> Option<String> {
        let folder = self.folder.place()?;
        Some(self.gguf.as_ref().map_or(folder.clone(), |name| format!("{folder}/{name}")))
    }

    fn gguf(&self) -> Option<String> {
        self.gguf.clone()
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        self.folder.read(name, start, len).await
    }
}
