//! Folders in memory, and the fixtures of the tree.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tabtune::error::{Code, Error, Result};
use tabtune::files::Files;

#[derive(Clone, Default)]
pub struct MemoryFiles(pub BTreeMap<String, Vec<u8>>);

#[async_trait::async_trait(?Send)]
impl Files for MemoryFiles {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.0.get(name).map(|bytes| bytes.len() as u64))
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        let start = start as usize;
        self.0
            .get(name)
            .and_then(|bytes| bytes.get(start..start + len))
            .map(<[u8]>::to_vec)
            .ok_or_else(|| Error::new(Code::Io, format!("{name} has no bytes {start} to {}", start + len)))
    }
}

impl MemoryFiles {
    pub fn of(files: &[(&str, &[u8])]) -> Self {
        MemoryFiles(files.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect())
    }

    /// The files of a folder below `tests/fixtures`.
    pub fn fixture(folder: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder);
        let entries = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let files = entries
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().is_file())
            .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()));
        MemoryFiles(files.collect())
    }
}

/// The bytes of a safetensors file with this header and these bytes of data.
pub fn safetensors_file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// Asserts an error of this code whose text holds all of `parts`.
#[track_caller]
pub fn assert_refused<T>(result: Result<T>, code: Code, parts: &[&str]) {
    let Err(error) = result else { panic!("expected an error of code {code:?} with {parts:?}") };
    assert_eq!(error.code, code, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "{part:?} is missing in: {error}");
    }
}
