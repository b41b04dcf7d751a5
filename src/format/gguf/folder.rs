//! A GGUF as the Hugging Face folder that its model would have.

use std::collections::BTreeMap;

use super::Gguf;
use crate::error::{Code, Error, Result};
use crate::files::Files;

/// The files that a GGUF's metadata makes, and the GGUF itself for its weights. What else lies beside it is not seen: a
/// GGUF is one file and nothing else.
pub struct GgufFolder<'a, F> {
    files: &'a F,
    name: String,
    made: BTreeMap<String, Vec<u8>>,
}

impl<'a, F: Files> GgufFolder<'a, F> {
    /// Errors as [`Gguf::open`] and [`Gguf::folder`].
    pub async fn open(files: &'a F, name: &str) -> Result<Self> {
        let made = Gguf::open(files, name).await?.folder()?;
        Ok(GgufFolder { files, name: name.to_owned(), made })
    }
}

impl<F: Files> Files for GgufFolder<'_, F> {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        match self.made.get(name) {
            Some(bytes) => Ok(Some(bytes.len() as u64)),
            None if name.ends_with(".gguf") => self.files.size(name).await,
            None => Ok(None),
        }
    }

    fn place(&self) -> Option<String> {
        self.files.place()
    }

    fn gguf(&self) -> Option<String> {
        Some(self.name.clone())
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        let Some(bytes) = self.made.get(name) else { return self.files.read(name, start, len).await };
        let part = usize::try_from(start).ok().and_then(|start| bytes.get(start..start.checked_add(len)?));
        let error = || Error::new(Code::Io, format!("{name} has no bytes {start} to {}", start + len as u64));
        part.map(<[u8]>::to_vec).ok_or_else(error)
    }
}
