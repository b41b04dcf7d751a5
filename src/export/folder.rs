//! A folder on disk as a place for files.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::sink::Sink;
use crate::error::{Code, Error, Result};

/// Each file has another name until it is whole, and is removed when it never becomes so.
pub struct Folder {
    folder: PathBuf,
    open: Option<Open>,
    written: Vec<(String, u64)>,
}

struct Open {
    name: String,
    bytes: u64,
    file: File,
    path: PathBuf,
    partial: PathBuf,
}

impl Folder {
    /// The folder, which is made where there is none.
    pub fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(io(folder))?;
        Ok(Folder { folder: folder.to_owned(), open: None, written: Vec::new() })
    }

    /// The names and bytes of the files that are whole.
    pub fn written(&self) -> &[(String, u64)] {
        &self.written
    }
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |error| {
        let code = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Code::QuotaExceeded,
            _ => Code::Io,
        };
        Error::new(code, format!("{}: {error}", path.display()))
    }
}

#[async_trait::async_trait(?Send)]
impl Sink for Folder {
    async fn create(&mut self, name: &str, bytes: u64) -> Result<()> {
        let path = self.folder.join(name);
        let partial = self.folder.join(format!("{name}.partial"));
        let file = File::create(&partial).map_err(io(&partial))?;
        self.open = Some(Open { name: name.to_owned(), bytes, file, path, partial });
        Ok(())
    }

    async fn write(&mut self, piece: &[u8]) -> Result<()> {
        let Some(Open { file, partial, .. }) = &mut self.open else {
            crate::bail!(Internal, "no file was begun");
        };
        file.write_all(piece).map_err(io(partial))
    }

    async fn finish(&mut self) -> Result<()> {
        let Some(Open { name, bytes, file, path, partial }) = &mut self.open else {
            crate::bail!(Internal, "no file was begun");
        };
        file.flush().and_then(|()| fs::rename(&*partial, &*path)).map_err(io(path))?;
        self.written.push((std::mem::take(name), *bytes));
        self.open = None;
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(Open { partial, .. }) = self.open.take() {
            // What is left has a name that nothing takes for a model.
            let _ = fs::remove_file(partial);
        }
    }
}
