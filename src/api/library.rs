//! Datasets as JavaScript sees them: imports, descriptions, rows.

use std::cell::RefCell;
use std::rc::Rc;

use serde::Serialize;
use wasm_bindgen::prelude::*;

use super::Thrown;
use super::convert::{from_js, thrown, to_js};
use crate::data::formats::Format;
use crate::data::idb_kv::IdbKv;
use crate::data::import::Importer;
use crate::data::inspect::{Head, Inspection};
use crate::data::library::{self, Description, ImportOptions};
use crate::data::rename;
use crate::data::tokens::{self, DatasetReport};
use crate::error::{Code, Error, Result};
use crate::train::saved::{self, RunRecord};

/// The datasets in the browser's storage. Nothing of it needs a GPU, and calls may overlap.
#[wasm_bindgen]
pub struct Library {
    kv: Rc<IdbKv>,
}

impl Library {
    pub(super) fn kv(&self) -> &Rc<IdbKv> {
        &self.kv
    }
}

/// A dataset without its rows.
#[derive(Serialize)]
struct Info<'a> {
    name: &'a str,
    rows: u64,
    bytes: u64,
    fingerprint: &'a str,
    files: &'a [String],
    /// Rows of an import that was interrupted, if there is one.
    pending_rows: Option<u64>,
    /// What was found each time that the rows were tokenised.
    token_sets: Vec<DatasetReport>,
}

impl<'a> Info<'a> {
    async fn new(kv: &IdbKv, description: &'a Description) -> Result<Self> {
        let content = description.content.as_ref();
        let token_sets = match content {
            Some(content) => tokens::reports(kv, content).await?,
            None => Vec::new(),
        };
        Ok(Info {
            name: &description.name,
            rows: content.map_or(0, |content| content.rows),
            bytes: content.map_or(0, |content| content.bytes),
            fingerprint: content.map_or("", |content| &content.fingerprint),
            files: content.map_or(&[], |content| &content.files),
            pending_rows: description.pending.as_ref().map(|pending| pending.content.rows),
            token_sets,
        })
    }
}

fn import_options(options: JsValue) -> Result<ImportOptions> {
    let options = match from_js(options, "import")? {
        serde_json::Value::Null => serde_json::json!({}),
        options => options,
    };
    serde_json::from_value(options).map_err(|error| Error::new(Code::BadOption, format!("import: {error}")))
}

fn known_format(name: Option<String>) -> Result<Option<Format>> {
    let known = name.map(|name| serde_json::from_value(name.into()));
    known.transpose().map_err(|error| Error::new(Code::Internal, format!("format: {error}")))
}

#[wasm_bindgen]
impl Library {
    /// Opens the browser's storage.
    pub async fn open() -> Thrown<Library> {
        Ok(Library { kv: Rc::new(IdbKv::open().await.map_err(thrown)?) })
    }

    /// The descriptions of all datasets.
    pub async fn list(&self) -> Thrown<JsValue> {
        let list = async {
            let descriptions = library::list(&self.kv).await?;
            let mut infos = Vec::new();
            for description in &descriptions {
                infos.push(Info::new(&self.kv, description).await?);
            }
            to_js(&infos)
        };
        list.await.map_err(thrown)
    }

    /// The description of a dataset; one without rows where there is none.
    pub async fn info(&self, name: String) -> Thrown<JsValue> {
        let info = async {
            let description = Description::load(&self.kv, &name).await?;
            to_js(&Info::new(&self.kv, &description).await?)
        };
        info.await.map_err(thrown)
    }

    /// Rows as they are kept, each with where it came from.
    pub async fn rows(&self, name: String, first: u32, count: u32) -> Thrown<JsValue> {
        let rows = library::rows(&self.kv, &name, first.into(), count.into()).await.map_err(thrown)?;
        to_js(&rows).map_err(thrown)
    }

    /// The numbers of the rows that a run holds out which is told to hold out such a share.
    pub async fn held_out(&self, name: String, test_size: f64) -> Thrown<Vec<u32>> {
        tokens::held_out(&self.kv, &name, test_size).await.map_err(thrown)
    }

    /// Leaves out rows that occur twice; returns how many.
    pub async fn deduplicate(&self, name: String) -> Thrown<f64> {
        library::deduplicate(&self.kv, &name).await.map(|removed| removed as f64).map_err(thrown)
    }

    /// Gives a dataset another name.
    pub async fn rename(&self, name: String, to: String) -> Thrown<()> {
        rename::rename(&self.kv, &name, &to).await.map_err(thrown)
    }

    pub async fn delete(&self, name: String) -> Thrown<()> {
        library::delete(&self.kv, &name).await.map_err(thrown)
    }

    /// Gives up an import that was interrupted.
    pub async fn discard_pending(&self, name: String) -> Thrown<()> {
        library::discard_pending(&self.kv, &name).await.map_err(thrown)
    }

    /// The steps of a run's checkpoints, oldest first.
    pub async fn checkpoints(&self, run: String) -> Thrown<JsValue> {
        to_js(&RunRecord::load(&self.kv, &run).await.map_err(thrown)?.saved).map_err(thrown)
    }

    /// Keeps what prompts of a run were answered.
    pub async fn keep_samples(&self, run: String, json: String) -> Thrown<()> {
        saved::keep_samples(&self.kv, &run, &json).await.map_err(thrown)
    }

    /// What was kept, as it was; undefined where there is nothing.
    pub async fn samples(&self, run: String) -> Thrown<Option<String>> {
        saved::samples(&self.kv, &run).await.map_err(thrown)
    }

    /// Removes a run's checkpoints and its samples.
    pub async fn delete_run(&self, run: String) -> Thrown<()> {
        saved::delete(&self.kv, &run).await.map_err(thrown)
    }

    /// What the first bytes of a file seem to hold.
    pub fn inspect(
        &self,
        file: String,
        format: Option<String>,
        head: Vec<u8>,
        is_whole: bool,
        options: JsValue,
    ) -> Thrown<JsValue> {
        const ROWS: usize = 20;
        let look = || {
            let (head, options) = (Head { bytes: &head, is_whole }, import_options(options)?);
            Inspection::new(&file, known_format(format)?, head, &options, ROWS)
        };
        to_js(&look().map_err(thrown)?).map_err(thrown)
    }

    /// Begins an import, or goes on with one that was interrupted.
    pub async fn import(&self, name: String, options: JsValue, resume: bool) -> Thrown<Import> {
        let begin = async { Importer::begin(self.kv.clone(), &name, import_options(options)?, resume).await };
        Ok(Import { importer: Rc::new(RefCell::new(Some(begin.await.map_err(thrown)?))) })
    }
}

/// An import on its way. A call takes the importer out of its cell while it runs, as [`super::Session`]'s do.
#[wasm_bindgen]
pub struct Import {
    importer: Rc<RefCell<Option<Importer>>>,
}

impl Import {
    async fn with<T>(&self, work: impl AsyncFnOnce(&mut Importer) -> Result<T>) -> Thrown<T> {
        let cell = self.importer.clone();
        let mut importer = cell.borrow_mut().take().ok_or_else(|| thrown(ended()))?;
        let result = work(&mut importer).await;
        *cell.borrow_mut() = Some(importer);
        result.map_err(thrown)
    }
}

fn ended() -> Error {
    Error::new(Code::BadState, "the import is busy or has ended")
}

#[wasm_bindgen]
impl Import {
    /// The next file. `format` is that of bytes which the package made from rows of its own, `"rows"` or
    /// `"sheet"`.
    pub async fn begin_file(&self, name: String, format: Option<String>) -> Thrown<()> {
        self.with(async |importer| importer.begin_file(&name, known_format(format)?)).await
    }

    /// Notes a file that is not imported, and why.
    pub async fn ignore_file(&self, name: String, reason: String) -> Thrown<()> {
        self.with(async |importer| {
            importer.ignore_file(&name, &reason);
            Ok(())
        })
        .await
    }

    /// The next bytes of the file. Returns the rows kept so far.
    pub async fn push(&self, piece: Vec<u8>) -> Thrown<f64> {
        self.with(async |importer| {
            importer.push(&piece).await?;
            Ok(importer.report().rows as f64)
        })
        .await
    }

    /// No more bytes follow in the file.
    pub async fn end_file(&self) -> Thrown<()> {
        self.with(async |importer| importer.end_file().await).await
    }

    /// Makes the rows the dataset's content.
    pub async fn finish(&self) -> Thrown<JsValue> {
        let importer = self.importer.borrow_mut().take().ok_or_else(|| thrown(ended()))?;
        to_js(&importer.finish().await.map_err(thrown)?).map_err(thrown)
    }
}
