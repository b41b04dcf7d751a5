//! The adapter alone, which llama.cpp takes with `--lora`.

use super::header::{ALIGNMENT, TensorEntry};
use super::tensors::{encode, permuted};
use super::{file_type, general, kind, names, pad, stem, window_notice};
use crate::adapter::{LoraModule, PeftAdapter, Side};
use crate::bail;
use crate::data::tokenizer::Tokenizer;
use crate::error::Result;
use crate::export::modelfile;
use crate::export::options::{ExportDtype, ExportOptions};
use crate::export::original::Original;
use crate::export::sink::Writer;
use crate::files::PIECE_BYTES;
use crate::format::gguf::{GgmlType, Names};
use crate::model::{LAYERS, lora_modules};

/// One of the two matrices of a module.
struct Matrix {
    name: String,
    shape: [usize; 2],
    kind: GgmlType,
    module: LoraModule,
    side: Side,
    /// As the base's rows, B's change their places within a head of so many; 1 where they do not.
    head_dim: usize,
}

pub(in crate::export) async fn write(
    original: &Original<'_>,
    adapter: &PeftAdapter,
    options: &ExportOptions,
    mut writer: Writer<'_>,
) -> Result<Vec<String>> {
    if adapter.config.changes_model() {
        bail!(
            BadOption,
            "format lora-gguf holds LoRA's factors alone, but the adapter has {} too: take format gguf, which \
             writes the whole model with them",
            adapter.others.keys().next().map_or("weights", String::as_str)
        );
    }
    // A PEFT adapter is f32, and small.
    let dtype = options.dtype.unwrap_or(ExportDtype::F32);
    let names = names(original)?;
    let matrices = matrices(original, adapter, names, dtype)?;
    let mut metadata = general(names, "adapter", stem(options));
    metadata.u32("general.file_type", file_type(dtype));
    metadata.string("adapter.type", "lora");
    metadata.f32("adapter.lora.alpha", alpha(adapter));
    let entries: Vec<TensorEntry> = matrices.iter().map(Matrix::entry).collect();
    let header = metadata.header(&entries);
    let tokenizer = match original.files.size("tokenizer.json").await? {
        Some(_) => Some(Tokenizer::load(original.files).await?),
        None => None,
    };
    let base =
        options.base.as_deref().or(adapter.base_model_name_or_path.as_deref()).unwrap_or("./model.gguf");
    let modelfile = modelfile::of_adapter(&options.file, base, tokenizer.as_ref(), &original.architecture);

    let data: u64 = entries.iter().map(|entry| entry.bytes().next_multiple_of(ALIGNMENT)).sum();
    let bytes = header.len() as u64 + data;
    writer.expect(bytes + modelfile.len() as u64);
    writer.create(&options.file, bytes).await?;
    writer.write(&header).await?;
    for matrix in &matrices {
        matrix.write(adapter, &mut writer).await?;
        pad(matrix.entry().bytes(), &mut writer).await?;
    }
    writer.finish().await?;
    writer.file(modelfile::NAME, modelfile.as_bytes()).await?;
    Ok(window_notice(&original.architecture))
}

/// llama.cpp divides it by the rank, whatever the adapter was trained with.
fn alpha(adapter: &PeftAdapter) -> f32 {
    let config = &adapter.config;
    let root = if config.use_rslora { (config.r as f64).sqrt() } else { 1.0 };
    (config.lora_alpha * root) as f32
}

fn matrices(
    original: &Original<'_>,
    adapter: &PeftAdapter,
    names: &Names,
    dtype: ExportDtype,
) -> Result<Vec<Matrix>> {
    let architecture = &original.architecture;
    let mut matrices = Vec::new();
    for ((layer, module), lora) in architecture.modules().zip(lora_modules(architecture)) {
        if !adapter.weights.contains_key(&lora.path) {
            continue;
        }
        let weight = format!("{LAYERS}.{layer}.{}.weight", module.path);
        let Some(name) = names.to_gguf(&weight) else {
            bail!(UnsupportedModel, "{weight} has no name in a GGUF of architecture {}", names.architecture);
        };
        for (side, suffix) in [(Side::A, "lora_a"), (Side::B, "lora_b")] {
            let shape = lora.shape(side, adapter.config.rank_of(&lora));
            let head_dim = match (side, names.permuted(&weight)) {
                (Side::B, Some(_)) => architecture.layers[layer].attention.head_dim,
                _ => 1,
            };
            let name = format!("{name}.{suffix}");
            matrices.push(Matrix {
                name,
                shape,
                kind: kind(dtype, shape[1]),
                module: lora.clone(),
                side,
                head_dim,
            });
        }
    }
    Ok(matrices)
}

impl Matrix {
    fn entry(&self) -> TensorEntry<'_> {
        TensorEntry { name: &self.name, shape: &self.shape, kind: self.kind }
    }

    async fn write(&self, adapter: &PeftAdapter, writer: &mut Writer<'_>) -> Result<()> {
        let [rows, cols] = self.shape;
        let per_piece = (PIECE_BYTES / 4 / (4 * cols * self.head_dim)).max(1) * self.head_dim;
        // What llama.cpp multiplies with is the file's alpha divided by the rank of the matrix; what is left is part of B.
        let rank = adapter.config.rank_of(&self.module) as f32;
        let factor =
            match adapter.config.alpha_pattern.0.is_empty() && adapter.config.rank_pattern.0.is_empty() {
                true => 1.0,
                false => adapter.config.scale_of(&self.module) * rank / alpha(adapter),
            };
        let mut bytes = Vec::new();
        for first in (0..rows).step_by(per_piece) {
            let mut values = adapter.rows(&self.module, self.side, first..rows.min(first + per_piece));
            if self.side == Side::B && factor != 1.0 {
                values.iter_mut().for_each(|value| *value *= factor);
            }
            if self.head_dim > 1 {
                values = permuted(&values, self.head_dim, cols);
            }
            bytes.clear();
            if !encode(self.kind, &values, &mut bytes) {
                bail!(NotFinite, "{}: values are beyond what {} can hold; take f32", self.name, self.kind);
            }
            writer.write(&bytes).await?;
        }
        Ok(())
    }
}
