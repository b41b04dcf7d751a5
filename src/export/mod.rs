//! Results as people use them: the base with an adapter merged into it, or with the weights that it learnt, made of the
//! original files, row by row.
//!
//! What is written goes to a [`Sink`] front to back, in pieces of at most [`PIECE_BYTES`](crate::files::PIECE_BYTES): no
//! file and no tensor is ever whole in memory.

#[cfg(not(target_arch = "wasm32"))]
mod folder;
mod gguf;
mod merge;
mod modelfile;
mod options;
mod original;
mod safetensors;
mod sink;

#[cfg(not(target_arch = "wasm32"))]
pub use folder::Folder;
pub use merge::Change;
pub use options::{ExportDtype, ExportOptions, Format, MAX_SHARD_BYTES};
pub use original::Original;
pub use sink::{ExportProgress, OnProgress, Sink};

use crate::adapter::{PeftAdapter, load_peft};
use crate::bail;
use crate::error::{Context, Result};
use crate::files::Files;
use crate::model::adaptable;

use merge::Merged;
use sink::Writer;

/// Reads the adapter of a PEFT folder for the model `original`.
///
/// # Errors
///
/// Code `bad-adapter` where it does not fit the model, or holds rows of an embedding or head that the model has not.
pub async fn read_adapter(original: &Original<'_>, files: &dyn Files) -> Result<PeftAdapter> {
    let adapter =
        load_peft(files, &adaptable(&original.architecture)).await.context("reading the adapter")?;
    original.leave_out_base(files, &adapter).await.context("reading the adapter")?;
    Ok(adapter)
}

/// Writes the model as `change` made it, as `options` say. Returns what is worth
/// telling a person, e.g. what llama.cpp computes otherwise.
///
/// # Errors
///
/// `bad-model` for files that are wrong; `not-finite`, naming the tensor, where a value does not fit the dtype;
/// `cancelled` when `on_progress` says so; what the sink fails with.
pub async fn export(
    original: &Original<'_>,
    change: Change<'_>,
    options: &ExportOptions,
    sink: &mut dyn Sink,
    on_progress: OnProgress<'_>,
) -> Result<Vec<String>> {
    let merged = Merged::new(original, change)?;
    let writer = Writer::new(sink, on_progress);
    match options.format {
        Format::Safetensors => safetensors::write(&merged, options, writer).await.map(|()| Vec::new()),
        Format::Gguf => gguf::write(&merged, options, writer).await,
        Format::LoraGguf => match change {
            Change::Adapter(adapter) => gguf::write_lora(original, adapter, options, writer).await,
            Change::None | Change::Weights(_) => {
                bail!(
                    BadOption,
                    "format lora-gguf needs an adapter, and there is none: take format gguf, which writes the whole model"
                )
            }
        },
    }
}
