//! Where everything lies that outlives the tab: bytes by key, written in transactions.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::error::Result;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// A dataset's description, by its name.
    Datasets,
    /// Blocks of rows as they were imported.
    Rows,
    /// The description of rows that were tokenised.
    TokenSets,
    /// Blocks of tokenised rows.
    Tokens,
    /// Lengths and the like of the rows of some blocks.
    TokenIndex,
    /// What a reference makes of tokenised rows.
    Scores,
    /// Which checkpoints a run has, by its name.
    Runs,
    /// Headers and pieces of checkpoints.
    Checkpoints,
    /// The lines of a run's log, by its name.
    RunLogs,
    /// What prompts of a run were answered at some of its steps, by its name.
    Samples,
    /// Short texts, such as what was measured on this machine.
    Notes,
}

impl Table {
    pub const fn as_str(self) -> &'static str {
        match self {
            Table::Datasets => "datasets",
            Table::Rows => "rows",
            Table::TokenSets => "token_sets",
            Table::Tokens => "tokens",
            Table::TokenIndex => "token_index",
            Table::Scores => "scores",
            Table::Runs => "runs",
            Table::Checkpoints => "checkpoints",
            Table::RunLogs => "run_logs",
            Table::Samples => "samples",
            Table::Notes => "notes",
        }
    }
}

/// The key of a record: a table, a name in it, and a number for what comes in many records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub table: Table,
    pub name: String,
    pub number: u32,
}

impl Key {
    pub fn new(table: Table, name: &str, number: u32) -> Self {
        Key { table, name: name.to_owned(), number }
    }
}

/// One change of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Writes a record, over one that is there.
    Put(Key, Vec<u8>),
    /// Removes the records of the key's table and name from its number on.
    RemoveFrom(Key),
}

/// A store of bytes by key.
#[async_trait::async_trait(?Send)]
pub trait Kv {
    /// The records of `keys`, in their order; `None` where there is none.
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>>;

    /// All records of a table, or of one name in it, in the order of their keys.
    async fn scan(&self, table: Table, name: Option<&str>) -> Result<Vec<(Key, Vec<u8>)>>;

    /// Makes all changes in order, or none of them. Code `quota-exceeded` where they do not fit.
    async fn write(&self, changes: Vec<Write>) -> Result<()>;

    /// One record.
    async fn get_one(&self, key: Key) -> Result<Option<Vec<u8>>> {
        Ok(self.get(&[key]).await?.pop().flatten())
    }
}

#[async_trait::async_trait(?Send)]
impl<K: Kv + ?Sized> Kv for std::rc::Rc<K> {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>> {
        (**self).get(keys).await
    }

    async fn scan(&self, table: Table, name: Option<&str>) -> Result<Vec<(Key, Vec<u8>)>> {
        (**self).scan(table, name).await
    }

    async fn write(&self, changes: Vec<Write>) -> Result<()> {
        (**self).write(changes).await
    }
}

/// Records in memory.
#[derive(Default)]
pub struct MemoryKv {
    records: RefCell<BTreeMap<Key, Vec<u8>>>,
}

#[async_trait::async_trait(?Send)]
impl Kv for MemoryKv {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>> {
        let records = self.records.borrow();
        Ok(keys.iter().map(|key| records.get(key).cloned()).collect())
    }

    async fn scan(&self, table: Table, name: Option<&str>) -> Result<Vec<(Key, Vec<u8>)>> {
        let records = self.records.borrow();
        let wanted =
            records.iter().filter(|(key, _)| key.table == table && name.is_none_or(|name| key.name == name));
        Ok(wanted.map(|(key, bytes)| (key.clone(), bytes.clone())).collect())
    }

    async fn write(&self, changes: Vec<Write>) -> Result<()> {
        let mut records = self.records.borrow_mut();
        for change in changes {
            match change {
                Write::Put(key, bytes) => {
                    records.insert(key, bytes);
                }
                Write::RemoveFrom(first) => {
                    let last = Key { number: u32::MAX, ..first.clone() };
                    let gone: Vec<Key> = records.range(first..=last).map(|(key, _)| key.clone()).collect();
                    for key in gone {
                        records.remove(&key);
                    }
                }
            }
        }
        Ok(())
    }
}
