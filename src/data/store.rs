//! Where encoded rows lie until a step wants them.

use std::cell::RefCell;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::data::encode::Encoded;
use crate::error::{Code, Error, Result};

/// What an import found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetReport {
    /// Rows in the file.
    pub rows: u64,
    /// Rows to train on.
    pub kept: u64,
    /// Rows without a single target, because all their labels are masked.
    pub dropped: u64,
    /// Rows longer than `max_length`, kept or dropped.
    pub truncated: u64,
    /// Tokens of all kept rows.
    pub tokens: u64,
    /// Targets of all kept rows: labelled tokens other than a row's first.
    pub labelled_tokens: u64,
    /// Tokens of the longest kept row.
    pub longest: u32,
}

/// A stored dataset without its rows: enough to plan a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasetInfo {
    pub report: DatasetReport,
    /// Tokens of each kept row.
    pub lengths: Vec<u32>,
    /// Targets of each kept row.
    pub targets: Vec<u32>,
}

/// A place for the rows of named datasets. Nothing of it stays in memory but what is asked for.
///
/// A dataset exists once `finish` has returned; rows are counted from zero.
#[allow(async_fn_in_trait)]
pub trait RowStore {
    /// Removes dataset `name` with its rows, if there is one.
    async fn clear(&self, name: &str) -> Result<()>;

    /// Stores rows `first..first + rows.len()` of a dataset that is being written.
    async fn append(&self, name: &str, first: u32, rows: &[Encoded]) -> Result<()>;

    /// Completes a dataset.
    async fn finish(&self, name: &str, info: &DatasetInfo) -> Result<()>;

    /// Opens a dataset. One that was never completed is an error of code `bad-state`.
    async fn info(&self, name: &str) -> Result<DatasetInfo>;

    /// Rows by number, in the order asked for.
    async fn get(&self, name: &str, rows: &[u32]) -> Result<Vec<Encoded>>;

    /// A short text kept under `key`, such as what was measured on this machine.
    async fn note(&self, key: &str) -> Result<Option<String>>;

    /// Keeps a short text under `key`.
    async fn set_note(&self, key: &str, text: &str) -> Result<()>;
}

/// Rows in memory.
#[derive(Default)]
pub struct MemoryStore {
    datasets: RefCell<HashMap<String, MemoryDataset>>,
    notes: RefCell<HashMap<String, String>>,
}

#[derive(Default)]
struct MemoryDataset {
    rows: Vec<Encoded>,
    info: Option<DatasetInfo>,
}

impl RowStore for MemoryStore {
    async fn clear(&self, name: &str) -> Result<()> {
        self.datasets.borrow_mut().remove(name);
        Ok(())
    }

    async fn append(&self, name: &str, first: u32, rows: &[Encoded]) -> Result<()> {
        let mut datasets = self.datasets.borrow_mut();
        let stored = &mut datasets.entry(name.to_string()).or_default().rows;
        stored.truncate(first as usize);
        stored.extend_from_slice(rows);
        Ok(())
    }

    async fn finish(&self, name: &str, info: &DatasetInfo) -> Result<()> {
        self.datasets.borrow_mut().entry(name.to_string()).or_default().info = Some(info.clone());
        Ok(())
    }

    async fn info(&self, name: &str) -> Result<DatasetInfo> {
        let datasets = self.datasets.borrow();
        let info = datasets.get(name).and_then(|dataset| dataset.info.clone());
        info.ok_or_else(|| no_dataset(name))
    }

    async fn get(&self, name: &str, rows: &[u32]) -> Result<Vec<Encoded>> {
        let datasets = self.datasets.borrow();
        let dataset = datasets.get(name).ok_or_else(|| no_dataset(name))?;
        let row = |row: &u32| dataset.rows.get(*row as usize).cloned().ok_or_else(|| no_row(name, *row));
        rows.iter().map(row).collect()
    }

    async fn note(&self, key: &str) -> Result<Option<String>> {
        Ok(self.notes.borrow().get(key).cloned())
    }

    async fn set_note(&self, key: &str, text: &str) -> Result<()> {
        self.notes.borrow_mut().insert(key.to_owned(), text.to_owned());
        Ok(())
    }
}

pub(super) fn no_dataset(name: &str) -> Error {
    Error::new(Code::BadState, format!("there is no dataset {name:?}; import it first"))
}

pub(super) fn no_row(name: &str, row: u32) -> Error {
    Error::new(Code::BadState, format!("dataset {name:?} has no row {row}"))
}
