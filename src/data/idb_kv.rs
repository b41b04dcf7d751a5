//! The browser's records: IndexedDB, database "tabtune".
//!
//! By the crate `idb` (0.6.5): maintained, and the smallest of three — `rexie` is a layer on top of it, and
//! `indexed_db_futures` brings some ten macro crates for the same calls.
//!
//! One object store, "records", holds a `Uint8Array` at each key `[table, name, number]`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_channel::oneshot;
use futures_util::future::{Either, FutureExt, Shared, join, join_all, join3, select};
use idb::{Database, Factory, KeyRange, ObjectStore, ObjectStoreParams, Query, Transaction, TransactionMode};
use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};

use super::kv::{Key, Kv, Table, Write};
use crate::error::{Code, Error, Result};

const DATABASE: &str = "tabtune";
const VERSION: u32 = 3;
const RECORDS: &str = "records";

/// How often a call is tried whose connection the browser closes.
const ATTEMPTS: u32 = 4;

/// Records in IndexedDB.
pub struct IdbKv {
    connection: Rc<RefCell<Option<Rc<Connection>>>>,
}

impl IdbKv {
    /// Opens the database and makes its object store if it is new.
    pub async fn open() -> Result<Self> {
        let kv = IdbKv { connection: Rc::default() };
        kv.attempt(async |_| Ok(())).await?;
        Ok(kv)
    }

    /// Does `work`, and where that fails, again on a new connection.
    ///
    /// A browser that clears a site's data closes the connection, and what is on its way then fails in one of
    /// several ways, which other faults share. All that is done here may be done twice: reads, and writes that
    /// say what shall be in the end. A full disk is not asked twice.
    async fn attempt<T>(&self, work: impl AsyncFn(&Connection) -> Result<T>) -> Result<T> {
        for _ in 1..ATTEMPTS {
            match self.once(&work).await {
                Err(error) if error.code != Code::QuotaExceeded => {}
                done => return done,
            }
        }
        self.once(&work).await
    }

    /// Does `work`, and gives up the connection that it failed on.
    async fn once<T>(&self, work: impl AsyncFn(&Connection) -> Result<T>) -> Result<T> {
        let connection = self.connection().await?;
        let done = {
            let _turn = connection.turn().await;
            work(&connection).await
        };
        if done.is_err() {
            // Another call may have connected anew meanwhile.
            self.connection.borrow_mut().take_if(|now| Rc::ptr_eq(now, &connection));
        }
        done
    }

    async fn connection(&self) -> Result<Rc<Connection>> {
        if let Some(connection) = &*self.connection.borrow() {
            return Ok(connection.clone());
        }
        let current = Rc::downgrade(&self.connection);
        let give_up = move || {
            if let Some(current) = current.upgrade() {
                current.take();
            }
        };
        let connection = Rc::new(Connection::open(give_up).await?);
        self.connection.replace(Some(connection.clone()));
        Ok(connection)
    }
}

/// A connection to the database, which closes with it.
struct Connection {
    database: Database,
    /// Ready when the last transaction that was asked for has ended.
    last: RefCell<Option<oneshot::Receiver<()>>>,
    /// Ready when the browser has closed the connection.
    closed: Shared<oneshot::Receiver<()>>,
}

impl Connection {
    /// Opens the database. `give_up` is called when another tab wants to change or delete it as a whole, which
    /// waits until every connection is closed.
    async fn open(give_up: impl FnOnce() + 'static) -> Result<Self> {
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
        let mut database = request.await.map_err(failed)?;
        let (closed, close) = oneshot::channel();
        database.on_close(move |_| {
            // Nobody waits any more if this fails.
            let _ = closed.send(());
        });
        database.on_version_change(move |_| give_up());
        Ok(Connection { database, last: RefCell::default(), closed: close.shared() })
    }

    /// Waits until all transactions that were asked for before have ended; the turn lasts until what is given is dropped.
    ///
    /// Where a worker ends while WebKit has both a reading and a writing transaction of a connection, its database answers
    /// nobody until the tab is closed (WebKit's bug 324094), so there is one at a time.
    async fn turn(&self) -> oneshot::Sender<()> {
        let (turn, ended) = oneshot::channel();
        let before = self.last.replace(Some(ended));
        if let Some(before) = before {
            // Nothing is sent: it is ready when its sender is dropped.
            let _ = before.await;
        }
        turn
    }

    fn begin(&self, mode: TransactionMode) -> Result<(Transaction, ObjectStore)> {
        let transaction = self.database.transaction(&[RECORDS], mode).map_err(failed)?;
        let records = transaction.object_store(RECORDS).map_err(failed)?;
        Ok((transaction, records))
    }

    /// Waits until a transaction, all of whose requests are made, has ended, and what it wrote is on disk.
    ///
    /// Only its two ends are listened to: a failed request aborts its transaction, and only then does the
    /// transaction carry the cause. A full disk may show at the commit alone. When the browser closes the
    /// connection, neither end may come.
    async fn committed(&self, mut transaction: Transaction) -> Result<()> {
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
        match select(end, self.closed.clone()).await {
            Either::Left((Ok(true), _)) => Ok(()),
            Either::Left(_) => Err(match transaction.error() {
                Some(cause) => of_exception(&cause.name(), &cause.message()),
                None => Error::new(Code::Io, "IndexedDB: the transaction was aborted"),
            }),
            Either::Right(_) => {
                // Its own end may yet be told.
                transaction.forget_callbacks();
                Err(Error::new(Code::Io, "IndexedDB: the browser closed the database"))
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // What has happened to it may yet be told.
        self.database.forget_callbacks();
        self.database.close();
    }
}

#[async_trait::async_trait(?Send)]
impl Kv for IdbKv {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>> {
        self.attempt(async |connection| {
            let (transaction, records) = connection.begin(TransactionMode::ReadOnly)?;
            let request = |key: &Key| Ok(records.get(to_js(key)).map_err(failed)?.into_future());
            let requests = keys.iter().map(request).collect::<Result<Vec<_>>>()?;
            // Each is waited for, even after one has failed: the browser tells of all of them.
            let (found, ended) = join(join_all(requests), connection.committed(transaction)).await;
            let found = found.into_iter().map(|value| Ok(value.map_err(failed)?.map(to_bytes)));
            let found = found.collect::<Result<_>>()?;
            ended.map(|()| found)
        })
        .await
    }

    async fn scan(&self, table: Table, name: Option<&str>) -> Result<Vec<(Key, Vec<u8>)>> {
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
        let (keys, values) = self
            .attempt(async |connection| {
                let (transaction, records) = connection.begin(TransactionMode::ReadOnly)?;
                let range = || Some(Query::KeyRange(range.clone()));
                let keys = records.get_all_keys(range(), None).map_err(failed)?.into_future();
                let values = records.get_all(range(), None).map_err(failed)?.into_future();
                let (keys, values, ended) = join3(keys, values, connection.committed(transaction)).await;
                let found = (keys.map_err(failed)?, values.map_err(failed)?);
                ended.map(|()| found)
            })
            .await?;
        let key = |key: JsValue| {
            let parts: Array = key.unchecked_into();
            let name = parts.get(1).as_string().unwrap_or_default();
            Key { table, name, number: parts.get(2).as_f64().unwrap_or_default() as u32 }
        };
        Ok(keys.into_iter().map(key).zip(values.into_iter().map(to_bytes)).collect())
    }

    async fn write(&self, changes: Vec<Write>) -> Result<()> {
        self.attempt(async |connection| {
            let (transaction, records) = connection.begin(TransactionMode::ReadWrite)?;
            for change in &changes {
                match change {
                    Write::Put(key, bytes) => {
                        let bytes = Uint8Array::from(bytes.as_slice());
                        records.put(&bytes, Some(&to_js(key))).map_err(failed)?;
                    }
                    Write::RemoveFrom(first) => {
                        let (table, name) = (first.table.as_str().into(), first.name.as_str().into());
                        let end = Array::of3(&table, &name, &Array::new());
                        let range = KeyRange::bound(&to_js(first), &end, None, None).map_err(failed)?;
                        records.delete(range).map_err(failed)?;
                    }
                }
            }
            connection.committed(transaction).await
        })
        .await
    }
}

fn to_js(key: &Key) -> JsValue {
    Array::of3(&key.table.as_str().into(), &key.name.as_str().into(), &key.number.into()).into()
}

/// The bytes of a record.
fn to_bytes(value: JsValue) -> Vec<u8> {
    value.unchecked_into::<Uint8Array>().to_vec()
}

fn failed(cause: idb::Error) -> Error {
    match &cause {
        idb::Error::DomException(exception) => of_exception(&exception.name(), &exception.message()),
        other => Error::new(Code::Io, format!("IndexedDB: {other}")),
    }
}

fn of_exception(name: &str, message: &str) -> Error {
    match name {
        "QuotaExceededError" => Error::new(Code::QuotaExceeded, "the browser's storage is full"),
        "VersionError" => {
            Error::new(Code::BadState, "another tab runs a newer version of tabtune; reload this page")
        }
        _ => Error::new(Code::Io, format!("IndexedDB: {name}: {message}")),
    }
}
