//! The browser's rows: IndexedDB, database "tabtune".
//!
//! By the crate `idb` (0.6.5): maintained, and the smallest of three — `rexie` is a layer on top of it, and
//! `indexed_db_futures` brings some ten macro crates for the same calls.
//!
//! Object store "rows" holds a `Uint8Array` (see [`Encoded::to_bytes`]) at the key `[dataset, row]`; object
//! store "datasets" holds `[report as JSON, lengths, targets]` at the key `dataset`, written last; object
//! store "notes" holds short texts.

use std::cell::Cell;
use std::rc::Rc;

use futures_channel::oneshot;
use idb::{Database, Factory, KeyRange, ObjectStore, ObjectStoreParams, Transaction, TransactionMode};
use js_sys::{Array, Uint8Array, Uint32Array};
use wasm_bindgen::{JsCast, JsValue};

use crate::data::encode::Encoded;
use crate::data::store::{DatasetInfo, RowStore, no_dataset, no_row};
use crate::error::{Code, Error, Result};

const DATABASE: &str = "tabtune";
const VERSION: u32 = 2;
const ROWS: &str = "rows";
const DATASETS: &str = "datasets";
const NOTES: &str = "notes";

/// Rows in IndexedDB.
pub struct IdbStore {
    database: Database,
}

impl IdbStore {
    /// Opens the database and makes its object stores if it is new.
    pub async fn open() -> Result<Self> {
        let factory = Factory::new().map_err(failed)?;
        let mut request = factory.open(DATABASE, Some(VERSION)).map_err(failed)?;
        request.on_upgrade_needed(|event| {
            // What fails in here aborts the upgrade, and opening reports that.
            if let Ok(database) = idb::event::DatabaseEvent::database(&event) {
                for name in [ROWS, DATASETS, NOTES] {
                    // One that an older version made is there already.
                    let _ = database.create_object_store(name, ObjectStoreParams::new());
                }
            }
        });
        Ok(IdbStore { database: request.await.map_err(failed)? })
    }

    /// A transaction over both object stores: it, the rows, the datasets.
    fn begin(&self, mode: TransactionMode) -> Result<(Transaction, ObjectStore, ObjectStore)> {
        let transaction = self.database.transaction(&[ROWS, DATASETS], mode).map_err(failed)?;
        let rows = transaction.object_store(ROWS).map_err(failed)?;
        let datasets = transaction.object_store(DATASETS).map_err(failed)?;
        Ok((transaction, rows, datasets))
    }
}

impl RowStore for IdbStore {
    async fn clear(&self, name: &str) -> Result<()> {
        let (transaction, rows, datasets) = self.begin(TransactionMode::ReadWrite)?;
        // An array sorts after every number, so this range holds every row of the dataset.
        let end = Array::of2(&name.into(), &Array::new());
        let range = KeyRange::bound(&Array::of1(&name.into()), &end, None, None).map_err(failed)?;
        rows.delete(range).map_err(failed)?;
        datasets.delete(JsValue::from(name)).map_err(failed)?;
        committed(transaction).await
    }

    async fn append(&self, name: &str, first: u32, rows: &[Encoded]) -> Result<()> {
        let (transaction, store, _) = self.begin(TransactionMode::ReadWrite)?;
        for (index, row) in (first..).zip(rows) {
            let bytes = Uint8Array::from(row.to_bytes().as_slice());
            store.put(&bytes, Some(&row_key(name, index))).map_err(failed)?;
        }
        committed(transaction).await
    }

    async fn finish(&self, name: &str, info: &DatasetInfo) -> Result<()> {
        let (transaction, _, datasets) = self.begin(TransactionMode::ReadWrite)?;
        let report = serde_json::to_string(&info.report).map_err(damaged)?;
        let lengths = Uint32Array::from(info.lengths.as_slice());
        let targets = Uint32Array::from(info.targets.as_slice());
        let record = Array::of3(&report.into(), &lengths, &targets);
        datasets.put(&record, Some(&name.into())).map_err(failed)?;
        committed(transaction).await
    }

    async fn info(&self, name: &str) -> Result<DatasetInfo> {
        let (_transaction, _, datasets) = self.begin(TransactionMode::ReadOnly)?;
        let request = datasets.get(JsValue::from(name)).map_err(failed)?;
        let record: Array = request.await.map_err(failed)?.ok_or_else(|| no_dataset(name))?.unchecked_into();
        let numbers = |index| record.get(index).dyn_into::<Uint32Array>().map(|array| array.to_vec());
        let damage = |_| damaged("dataset without its row lengths");
        Ok(DatasetInfo {
            report: serde_json::from_str(&record.get(0).as_string().unwrap_or_default()).map_err(damaged)?,
            lengths: numbers(1).map_err(damage)?,
            targets: numbers(2).map_err(damage)?,
        })
    }

    async fn get(&self, name: &str, rows: &[u32]) -> Result<Vec<Encoded>> {
        let (_transaction, store, _) = self.begin(TransactionMode::ReadOnly)?;
        // All requests go out before the first is awaited.
        let request = |row: &u32| Ok(store.get(row_key(name, *row)).map_err(failed)?.into_future());
        let requests = rows.iter().map(request).collect::<Result<Vec<_>>>()?;
        let mut found = Vec::with_capacity(rows.len());
        for (row, request) in rows.iter().zip(requests) {
            let value = request.await.map_err(failed)?.ok_or_else(|| no_row(name, *row))?;
            found.push(Encoded::from_bytes(&value.unchecked_into::<Uint8Array>().to_vec())?);
        }
        Ok(found)
    }

    async fn note(&self, key: &str) -> Result<Option<String>> {
        let transaction = self.database.transaction(&[NOTES], TransactionMode::ReadOnly).map_err(failed)?;
        let request = transaction.object_store(NOTES).and_then(|notes| notes.get(JsValue::from(key)));
        Ok(request.map_err(failed)?.await.map_err(failed)?.and_then(|text| text.as_string()))
    }

    async fn set_note(&self, key: &str, text: &str) -> Result<()> {
        let transaction = self.database.transaction(&[NOTES], TransactionMode::ReadWrite).map_err(failed)?;
        let notes = transaction.object_store(NOTES).map_err(failed)?;
        notes.put(&text.into(), Some(&key.into())).map_err(failed)?;
        committed(transaction).await
    }
}

fn row_key(name: &str, row: u32) -> JsValue {
    Array::of2(&name.into(), &row.into()).into()
}

/// Waits until a transaction, all of whose requests are made, is on disk.
///
/// Only its two ends are listened to: a failed request aborts its transaction, and only then does the
/// transaction carry the cause. A full disk may show at the commit alone.
async fn committed(mut transaction: Transaction) -> Result<()> {
    let (ended, end) = oneshot::channel();
    let ended = Rc::new(Cell::new(Some(ended)));
    for committed in [true, false] {
        let ended = ended.clone();
        let callback = move |_| {
            if let Some(ended) = ended.take() {
                // Nobody waits any more if this fails.
                let _ = ended.send(committed);
            }
        };
        if committed { transaction.on_complete(callback) } else { transaction.on_abort(callback) }
    }
    if end.await == Ok(true) {
        return Ok(());
    }
    Err(match transaction.error() {
        Some(cause) => of_exception(&cause.name(), &cause.message()),
        None => Error::new(Code::Io, "IndexedDB: the transaction was aborted"),
    })
}

fn failed(cause: idb::Error) -> Error {
    match &cause {
        idb::Error::DomException(exception) => of_exception(&exception.name(), &exception.message()),
        other => Error::new(Code::Io, format!("IndexedDB: {other}")),
    }
}

fn of_exception(name: &str, message: &str) -> Error {
    if name == "QuotaExceededError" {
        return Error::new(Code::QuotaExceeded, "the browser's storage is full");
    }
    Error::new(Code::Io, format!("IndexedDB: {name}: {message}"))
}

fn damaged(cause: impl std::fmt::Display) -> Error {
    Error::new(Code::BadState, format!("IndexedDB holds a damaged dataset: {cause}; import it again"))
}
