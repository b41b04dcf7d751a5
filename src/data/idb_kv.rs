//! The browser's records: IndexedDB, database "tabtune".
//!
//! By the crate `idb` (0.6.5): maintained, and the smallest of three — `rexie` is a layer on top of it, and
//! `indexed_db_futures` brings some ten macro crates for the same calls.
//!
//! One object store, "records", holds a `Uint8Array` at each key `[table, name, number]`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_channel::oneshot;
use idb::{Database, Factory, KeyRange, ObjectStore, ObjectStoreParams, Query, Transaction, TransactionMode};
use js_sys::{Array, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};

use super::kv::{Key, Kv, Table, Write};
use crate::error::{Code, Error, Result};

const DATABASE: &str = "tabtune";
const VERSION: u32 = 3;
const RECORDS: &str = "records";

/// Records in IndexedDB.
pub struct IdbKv {
    database: RefCell<Database>,
}

impl IdbKv {
    /// Opens the database and makes its object store if it is new.
    pub async fn open() -> Result<Self> {
        Ok(IdbKv { database: RefCell::new(Self::connect().await?) })
    }

    async fn connect() -> Result<Database> {
        let factory = Factory::new().map_err(failed)?;
        let mut request = factory.open(DATABASE, Some(VERSION)).map_err(failed)?;
        request.on_upgrade_needed(|event| {
            // What fails in here aborts the upgrade, and opening reports that.
            if let Ok(database) = idb::event::DatabaseEvent::database(&event) {
                // Earlier versions held tokens alone, which are made again from the files.
                for name in database.store_names() {
                    let _ = database.delete_object_store(&name);
                }
                let _ = database.create_object_store(RECORDS, ObjectStoreParams::new());
            }
        });
        request.await.map_err(failed)
    }

    async fn begin(&self, mode: TransactionMode) -> Result<(Transaction, ObjectStore)> {
        let transaction = match self.transaction(mode) {
            Err(cause) if is_closed(&cause) => {
                self.database.replace(Self::connect().await?);
                self.transaction(mode)
            }
            begun => begun,
        };
        let transaction = transaction.map_err(failed)?;
        let records = transaction.object_store(RECORDS).map_err(failed)?;
        Ok((transaction, records))
    }

    fn transaction(&self, mode: TransactionMode) -> std::result::Result<Transaction, idb::Error> {
        self.database.borrow().transaction(&[RECORDS], mode)
    }
}

/// Whether the browser has closed the connection, as it does when it clears a site's data.
fn is_closed(cause: &idb::Error) -> bool {
    let idb::Error::TransactionOpenFailed(thrown) = cause else { return false };
    Reflect::get(thrown, &"name".into()).is_ok_and(|name| name == "InvalidStateError")
}

impl Kv for IdbKv {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>> {
        let (_transaction, records) = self.begin(TransactionMode::ReadOnly).await?;
        // All requests go out before the first is awaited.
        let request = |key: &Key| Ok(records.get(to_js(key)).map_err(failed)?.into_future());
        let requests = keys.iter().map(request).collect::<Result<Vec<_>>>()?;
        let mut found = Vec::with_capacity(keys.len());
        for request in requests {
            let value = request.await.map_err(failed)?;
            found.push(value.map(|value| value.unchecked_into::<Uint8Array>().to_vec()));
        }
        Ok(found)
    }

    async fn scan(&self, table: Table, name: Option<&str>) -> Result<Vec<(Key, Vec<u8>)>> {
        let (_transaction, records) = self.begin(TransactionMode::ReadOnly).await?;
        // An array sorts after every string and every number.
        let table_name = JsValue::from(table.as_str());
        let range = match name {
            Some(name) => KeyRange::bound(
                &Array::of2(&table_name, &name.into()),
                &Array::of3(&table_name, &name.into(), &Array::new()),
                None,
                None,
            ),
            None => {
                KeyRange::bound(&Array::of1(&table_name), &Array::of2(&table_name, &Array::new()), None, None)
            }
        };
        let range = range.map_err(failed)?;
        let keys = records.get_all_keys(Some(Query::KeyRange(range.clone())), None).map_err(failed)?;
        let values = records.get_all(Some(Query::KeyRange(range)), None).map_err(failed)?;
        let (keys, values) = (keys.into_future(), values.into_future());
        let (keys, values) = (keys.await.map_err(failed)?, values.await.map_err(failed)?);
        let key = |key: JsValue| {
            let parts: Array = key.unchecked_into();
            let name = parts.get(1).as_string().unwrap_or_default();
            Key { table, name, number: parts.get(2).as_f64().unwrap_or_default() as u32 }
        };
        let bytes = |value: JsValue| value.unchecked_into::<Uint8Array>().to_vec();
        Ok(keys.into_iter().map(key).zip(values.into_iter().map(bytes)).collect())
    }

    async fn write(&self, changes: Vec<Write>) -> Result<()> {
        let (transaction, records) = self.begin(TransactionMode::ReadWrite).await?;
        for change in changes {
            match change {
                Write::Put(key, bytes) => {
                    let bytes = Uint8Array::from(bytes.as_slice());
                    records.put(&bytes, Some(&to_js(&key))).map_err(failed)?;
                }
                Write::RemoveFrom(first) => {
                    let end =
                        Array::of3(&first.table.as_str().into(), &first.name.as_str().into(), &Array::new());
                    let range = KeyRange::bound(&to_js(&first), &end, None, None).map_err(failed)?;
                    records.delete(range).map_err(failed)?;
                }
            }
        }
        committed(transaction).await
    }
}

fn to_js(key: &Key) -> JsValue {
    Array::of3(&key.table.as_str().into(), &key.name.as_str().into(), &key.number.into()).into()
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
