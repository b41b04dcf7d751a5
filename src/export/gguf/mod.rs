//! The files of llama.cpp: the merged model, and the adapter alone.

mod header;
mod lora;
mod parameters;
mod pre;
mod tensors;
mod tokenizer;

use super::merge::Merged;
use super::modelfile;
use super::options::{ExportDtype, ExportOptions};
use super::original::Original;
use super::sink::Writer;
use crate::bail;
use crate::data::tokenizer::Tokenizer;
use crate::error::Result;
use crate::format::gguf::{GgmlType, Names};
use crate::model::{Architecture, View};

use header::{ALIGNMENT, Metadata, TensorEntry};
use tensors::Planned;

pub(super) use lora::write as write_lora;
pub(super) use tokenizer::added as adds;

/// Of the blocks of ggml, `GGML_QNT_VERSION`.
const QUANTIZATION_VERSION: usize = 2;

pub(super) async fn write(
    merged: &Merged<'_>,
    options: &ExportOptions,
    mut writer: Writer<'_>,
) -> Result<Vec<String>> {
    let original = merged.original;
    let dtype = options.dtype.unwrap_or_else(|| original.dtype());
    let names = names(original)?;
    let tokenizer = Tokenizer::load(original.files).await?;
    let mut metadata = general(names, "model", &name(names, options, &tokenizer));
    metadata.u32("general.file_type", file_type(dtype));
    metadata.u32("general.quantization_version", QUANTIZATION_VERSION);
    parameters::write(&original.architecture, names, &mut metadata)?;
    let mut notices = window_notice(&original.architecture);
    notices.extend(tokenizer::write(original, &tokenizer, &mut metadata).await?);
    let planned = tensors::plan(merged, names, dtype)?;
    let entries: Vec<TensorEntry> = planned.iter().map(Planned::entry).collect();
    let header = metadata.header(&entries);
    let modelfile = modelfile::of_model(&options.file, &tokenizer, &original.architecture);

    let data: u64 = entries.iter().map(|entry| entry.bytes().next_multiple_of(ALIGNMENT)).sum();
    let bytes = header.len() as u64 + data;
    writer.expect(bytes + modelfile.len() as u64);
    writer.create(&options.file, bytes).await?;
    writer.write(&header).await?;
    for (tensor, entry) in planned.iter().zip(&entries) {
        tensor.write(merged, dtype, &mut writer).await?;
        pad(entry.bytes(), &mut writer).await?;
    }
    writer.finish().await?;
    writer.file(modelfile::NAME, modelfile.as_bytes()).await?;
    Ok(notices)
}

/// llama.cpp has no sliding windows for these families, but for Gemma's.
fn window_notice(architecture: &Architecture) -> Vec<String> {
    let Architecture { model_type, views, context, .. } = architecture;
    let windows = views.iter().filter_map(|view| match view {
        View::Window(window) if window < context && !model_type.starts_with("gemma3") => Some(window),
        _ => None,
    });
    let told = |window: &usize| {
        format!(
            "llama.cpp has no sliding window for {model_type}: from token {window} on it answers otherwise"
        )
    };
    windows.min().map(told).into_iter().collect()
}

/// Which names the tensors of a model have in a GGUF.
fn names(original: &Original<'_>) -> Result<&'static Names> {
    let model_type = &original.architecture.model_type;
    match Names::of_model_type(model_type) {
        Some(names) => Ok(names),
        None => bail!(
            UnsupportedModel,
            "model_type {model_type:?} has no architecture in GGUF; take format safetensors"
        ),
    }
}

/// What every file begins with.
fn general(names: &Names, kind: &str, name: &str) -> Metadata {
    let mut metadata = Metadata::default();
    metadata.string("general.architecture", names.architecture);
    metadata.string("general.type", kind);
    metadata.string("general.name", name);
    metadata
}

/// The name of a model in its file. By its name llama.cpp tells a model whose special tokens take the blanks behind them,
/// as Phi-3's do, and then wants that model's special tokens to be there.
fn name(names: &Names, options: &ExportOptions, tokenizer: &Tokenizer) -> String {
    const PHI: [&str; 2] = ["phi-3", "phi3"];
    const TOKENS: [&str; 4] = ["</s>", "<unk>", "<s>", "<|endoftext|>"];
    let name = stem(options);
    let says_phi = PHI.iter().any(|phi| name.to_lowercase().contains(phi));
    let is_phi =
        names.architecture == "phi3" && TOKENS.iter().all(|token| tokenizer.token_to_id(token).is_some());
    match (says_phi, is_phi) {
        (true, false) => "model".to_owned(),
        (false, true) => format!("phi-3 {name}"),
        _ => name.to_owned(),
    }
}

fn stem(options: &ExportOptions) -> &str {
    options.file.strip_suffix(".gguf").unwrap_or(&options.file)
}

/// What llama.cpp calls a file by the encoding of most of its matrices (`llama_ftype`).
fn file_type(dtype: ExportDtype) -> usize {
    match dtype {
        ExportDtype::F32 => 0,
        ExportDtype::F16 => 1,
        ExportDtype::Q8_0 => 7,
        ExportDtype::BF16 => 32,
    }
}

/// How a row of so many values is encoded: blocks must fill it.
fn kind(dtype: ExportDtype, row: usize) -> GgmlType {
    match dtype {
        ExportDtype::F32 => GgmlType::F32,
        ExportDtype::F16 => GgmlType::F16,
        ExportDtype::BF16 => GgmlType::BF16,
        ExportDtype::Q8_0 if row.is_multiple_of(GgmlType::Q8_0.block_values()) => GgmlType::Q8_0,
        ExportDtype::Q8_0 => GgmlType::F16,
    }
}

/// Fills up behind a tensor of so many bytes.
async fn pad(bytes: u64, writer: &mut Writer<'_>) -> Result<()> {
    let missing = bytes.next_multiple_of(ALIGNMENT) - bytes;
    writer.write(&[0; ALIGNMENT as usize][..missing as usize]).await
}
