//! A model's files as a Hugging Face folder, whatever they are.

use std::collections::BTreeMap;

use super::Gguf;
use crate::error::{Code, Error, Result};
use crate::files::Files;

/// A Hugging Face folder as it is. Of a GGUF, the files that its metadata makes, and the GGUF itself for its weights: what
/// else lies beside it is not seen, since a GGUF is one file and nothing else.
pub struct ModelFolder<'a> {
    files: &'a dyn Files,
    made: BTreeMap<String, Vec<u8>>,
}

impl<'a> ModelFolder<'a> {
    /// Errors as [`Gguf::open`] and [`Gguf::folder`].
    pub async fn open(files: &'a dyn Files) -> Result<Self> {
        let made = match files.gguf() {
            Some(name) => Gguf::open(files, &name).await?.folder()?,
            None => BTreeMap::new(),
        };
        Ok(ModelFolder { files, made })
    }
}

#[async_trait::async_trait(?Send)]
impl Files for ModelFolder<'_> {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        let is_seen = self.made.is_empty() || name.to_ascii_lowercase().ends_with(".gguf");
        match self.made.get(name) {
            Some(bytes) => Ok(Some(bytes.len() as u64)),
            None if is_seen => self.files.size(name).await,
            None => Ok(None),
        }
    }

    fn place(&self) -> Option<String> {
        self.files.place()
    }

    fn gguf(&self) -> Option<String> {
        self.files.gguf()
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        let Some(bytes) = self.made.get(name) else { return self.files.read(name, start, len).await };
        let part = usize::try_from(start).ok().and_then(|start| bytes.get(start..start.checked_add(len)?));
        let error = || Error::new(Code::Io, format!("{name} has no bytes {start} to {}", start + len as u64));
        part.map(<[u8]>::to_vec).ok_or_else(error)
    }
}
