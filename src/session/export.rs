//! What was trained as files that other programs read.

use std::collections::BTreeMap;

use super::{DEFAULT_ADAPTER, Run, Session, no_model};
use crate::error::{Code, Error, Result};
use crate::export::{Change, ExportOptions, OnProgress, Original, Sink, export, read_adapter};
use crate::files::{Files, Outside};
use crate::format::gguf::ModelFolder;
use crate::model::ParameterPart;

/// The files of an adapter, which are beside the heap.
pub(super) struct Saved(pub BTreeMap<String, Outside>);

#[async_trait::async_trait(?Send)]
impl Files for Saved {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.0.get(name).map(|bytes| bytes.len() as u64))
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        let file = self.0.get(name).filter(|file| start as usize + len <= file.len());
        let missing =
            || Error::new(Code::Io, format!("{name} has no bytes {start} to {}", start as usize + len));
        Ok(file.ok_or_else(missing)?.read(start as usize..start as usize + len))
    }
}

impl Session {
    /// Writes the model with an adapter as `options` say: the one that is named, or else the active one, or else that of
    /// a run. A run of all weights stands for the adapter "default". Without any, the model is written as it is.
    ///
    /// `files` are those that the model was loaded from; what
    /// lies on the device and did not learn is not read, since it may be quantised. Returns what is worth telling.
    ///
    /// # Errors
    ///
    /// `bad-option` for a name that no adapter has; as [`export`].
    pub async fn export(
        &mut self,
        files: &dyn Files,
        adapter: Option<&str>,
        mut options: ExportOptions,
        sink: &mut dyn Sink,
        on_progress: OnProgress<'_>,
    ) -> Result<Vec<String>> {
        let Some(loaded) = &self.loaded else { return Err(no_model()) };
        options.base = options.base.or_else(|| loaded.base.clone());
        let has_one =
            adapter.is_some() || loaded.adapters.active.is_some() || self.has_adapter(DEFAULT_ADAPTER);
        let files = ModelFolder::open(files).await?;
        let original = Original::open(&files).await?;
        if let Some(run) = self.run_of_weights(adapter) {
            let loaded = self.loaded.as_ref().ok_or_else(no_model)?;
            let reader = run.trainer.reader(&self.device, &loaded.store, ParameterPart::Values);
            return export(&original, Change::Weights(&reader), &options, sink, on_progress).await;
        }
        let adapter = match has_one {
            true => Some(read_adapter(&original, &Saved(self.save(adapter).await?)).await?),
            false => None,
        };
        let change = adapter.as_ref().map_or(Change::None, Change::Adapter);
        export(&original, change, &options, sink, on_progress).await
    }

    /// The run, where it trains weights of the model themselves and they are what `name` means.
    fn run_of_weights(&self, name: Option<&str>) -> Option<&Run> {
        let active = self.loaded.as_ref()?.adapters.active.as_deref();
        let run = self.run.as_ref().filter(|run| run.trainer.trained().lora.is_none())?;
        (name.or(active).unwrap_or(DEFAULT_ADAPTER) == DEFAULT_ADAPTER).then_some(run)
    }
}
