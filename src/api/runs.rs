//! Runs that leave the browser and come into it, as JavaScript sees them.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

use super::Thrown;
use super::convert::{thrown, to_js};
use super::library::Library;
use crate::data::idb_kv::IdbKv;
use crate::error::{Code, Error};
use crate::train::saved;

#[wasm_bindgen]
impl Library {
    /// Begins to take the last whole checkpoint of a run out.
    pub async fn export_run(&self, run: String) -> Thrown<RunExport> {
        let export = saved::RunExport::begin(self.kv(), &run).await.map_err(thrown)?;
        let total = export.total() as f64;
        Ok(RunExport { kv: self.kv().clone(), total, export: Rc::new(RefCell::new(Some(export))) })
    }

    /// Begins to take a run in under a name.
    pub async fn import_run(&self, run: String, overwrite: bool) -> Thrown<RunImport> {
        let import = saved::RunImport::begin(self.kv(), &run, overwrite).await.map_err(thrown)?;
        Ok(RunImport { kv: self.kv().clone(), import: Rc::new(RefCell::new(Some(import))) })
    }
}

/// A run on its way out. A call takes it out of its cell while it runs, as [`super::Session`]'s do.
#[wasm_bindgen]
pub struct RunExport {
    kv: Rc<IdbKv>,
    export: Rc<RefCell<Option<saved::RunExport>>>,
    total: f64,
}

/// A run on its way in.
#[wasm_bindgen]
pub struct RunImport {
    kv: Rc<IdbKv>,
    import: Rc<RefCell<Option<saved::RunImport>>>,
}

fn ended() -> JsValue {
    thrown(Error::new(
        Code::BadState,
        "the run that is taken out or in is busy with another call, or was given up",
    ))
}

#[wasm_bindgen]
impl RunExport {
    /// About how many bytes come.
    pub fn total(&self) -> f64 {
        self.total
    }

    /// The next bytes; undefined after the last.
    pub async fn next(&self) -> Thrown<Option<Uint8Array>> {
        let (cell, kv) = (self.export.clone(), self.kv.clone());
        let mut export = cell.borrow_mut().take().ok_or_else(ended)?;
        let bytes = export.next(&kv).await;
        *cell.borrow_mut() = Some(export);
        Ok(bytes.map_err(thrown)?.map(|bytes| Uint8Array::from(bytes.as_slice())))
    }
}

#[wasm_bindgen]
impl RunImport {
    /// The next bytes.
    pub async fn push(&self, piece: Vec<u8>) -> Thrown<()> {
        let (cell, kv) = (self.import.clone(), self.kv.clone());
        let mut import = cell.borrow_mut().take().ok_or_else(ended)?;
        let pushed = import.push(&kv, &piece).await;
        *cell.borrow_mut() = Some(import);
        pushed.map_err(thrown)
    }

    /// Makes what came the run's, and tells of its last checkpoint.
    pub async fn finish(&self) -> Thrown<JsValue> {
        let import = self.import.borrow_mut().take().ok_or_else(ended)?;
        to_js(&import.finish(&self.kv).await.map_err(thrown)?).map_err(thrown)
    }

    /// Removes what was taken in so far.
    pub async fn give_up(&self) -> Thrown<()> {
        let import = self.import.borrow_mut().take().ok_or_else(ended)?;
        import.give_up(&self.kv).await.map_err(thrown)
    }
}
