//! What a run saved as files to load, without a folder.

use std::collections::BTreeMap;

use tabtune::error::Result;
use tabtune::files::{Files, Outside};

/// An adapter as it was saved.
pub struct Saved(pub BTreeMap<String, Outside>);

#[async_trait::async_trait(?Send)]
impl Files for Saved {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.0.get(name).map(|bytes| bytes.len() as u64))
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        Ok(self.0[name].read(start as usize..start as usize + len))
    }
}
