//! The folder that transformers writes and reads.

use serde_json::{Map, Value, json};

use super::merge::Merged;
use super::options::{ExportDtype, ExportOptions};
use super::original::{CONFIG, row_pieces, stored_dtype};
use super::sink::Writer;
use crate::bail;
use crate::error::{Code, Error, Result};
use crate::format::{TensorInfo, read_small};

/// What a folder may hold beside weights and config; it is copied as it is.
const COPIED: [&str; 14] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "LICENSE",
    "NOTICE",
];
const MAX_COPIED_BYTES: u64 = 256 << 20;

/// A file of weights: its tensors in their order, and its header.
struct Shard<'a> {
    name: String,
    tensors: Vec<&'a TensorInfo>,
    header: Vec<u8>,
    /// Of header and tensors.
    bytes: u64,
}

pub(super) async fn write(
    merged: &Merged<'_>,
    options: &ExportOptions,
    mut writer: Writer<'_>,
) -> Result<()> {
    let original = merged.original;
    let dtype = options.dtype.unwrap_or_else(|| original.dtype());
    let mut tensors: Vec<&TensorInfo> = original.stored.values().chain(&merged.untied).collect();
    tensors.retain(|tensor| stored_dtype(tensor).is_some());
    tensors.sort_by(|one, other| one.name.cmp(&other.name));
    let shards = shards(&tensors, dtype, options.max_shard_bytes);
    let mut changed = config(&original.config, dtype);
    if merged.untied.is_some() {
        untie(&mut changed);
    }
    let mut small = vec![(CONFIG, pretty(&changed.into())?)];
    if let [_, _, ..] = &shards[..] {
        small.push(("model.safetensors.index.json", pretty(&index(&shards, dtype))?));
    }
    let mut total = shards.iter().map(|shard| shard.bytes).sum::<u64>();
    total += small.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
    let mut copied = Vec::new();
    for name in COPIED {
        if let Some(bytes) = original.files.size(name).await? {
            total += bytes;
            copied.push(name);
        }
    }
    writer.expect(total);

    for shard in &shards {
        writer.create(&shard.name, shard.bytes).await?;
        writer.write(&shard.header).await?;
        for tensor in &shard.tensors {
            write_tensor(merged, tensor, dtype, &mut writer).await?;
        }
        writer.finish().await?;
    }
    for name in copied {
        let bytes = read_small(original.files, name, MAX_COPIED_BYTES).await?.unwrap_or_default();
        writer.file(name, &bytes).await?;
    }
    // The config comes last, since a folder without it is no model yet.
    for (name, bytes) in small.into_iter().rev() {
        writer.file(name, &bytes).await?;
    }
    Ok(())
}

async fn write_tensor(
    merged: &Merged<'_>,
    tensor: &TensorInfo,
    dtype: ExportDtype,
    writer: &mut Writer<'_>,
) -> Result<()> {
    let rows = merged.rows(tensor);
    let (mut values, mut bytes) = (Vec::new(), Vec::new());
    for piece in row_pieces(tensor, 1) {
        rows.read(piece, dtype, &mut values).await?;
        bytes.clear();
        dtype.encode(&values, &mut bytes)?;
        writer.write(&bytes).await?;
    }
    Ok(())
}

/// The name of a dtype in safetensors and in `config.json`, and the bytes of a value.
fn dtype_names(dtype: ExportDtype) -> (&'static str, &'static str, u64) {
    match dtype {
        ExportDtype::F16 => ("F16", "float16", 2),
        ExportDtype::BF16 => ("BF16", "bfloat16", 2),
        ExportDtype::F32 | ExportDtype::Q8_0 => ("F32", "float32", 4),
    }
}

/// Cuts the tensors, by their names, into files as `split_torch_state_dict_into_shards` of `huggingface_hub` does.
fn shards<'a>(tensors: &[&'a TensorInfo], dtype: ExportDtype, max_bytes: u64) -> Vec<Shard<'a>> {
    let (name, _, width) = dtype_names(dtype);
    let bytes_of = |tensor: &TensorInfo| width * tensor.elements() as u64;
    let mut cut: Vec<(u64, Vec<&TensorInfo>)> = Vec::new();
    for &tensor in tensors {
        let bytes = bytes_of(tensor);
        match cut.last_mut() {
            Some((sum, shard)) if *sum + bytes <= max_bytes => {
                *sum += bytes;
                shard.push(tensor);
            }
            _ => cut.push((bytes, vec![tensor])),
        }
    }
    let count = cut.len();
    let shards = cut.into_iter().enumerate().map(|(number, (bytes, tensors))| {
        let header = header(&tensors, name, bytes_of);
        Shard {
            name: match count {
                1 => "model.safetensors".to_owned(),
                _ => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
            },
            tensors,
            bytes: header.len() as u64 + bytes,
            header,
        }
    });
    shards.collect()
}

/// The length of the header and the header.
fn header(tensors: &[&TensorInfo], dtype: &str, bytes_of: impl Fn(&TensorInfo) -> u64) -> Vec<u8> {
    let mut entries = Map::new();
    entries.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut end = 0;
    for tensor in tensors {
        let start = end;
        end += bytes_of(tensor);
        let entry = json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end]});
        entries.insert(tensor.name.clone(), entry);
    }
    let mut json = Value::Object(entries).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    [&(json.len() as u64).to_le_bytes()[..], &json].concat()
}

/// Which file holds which tensor.
fn index(shards: &[Shard], dtype: ExportDtype) -> Value {
    let (_, _, width) = dtype_names(dtype);
    let mut weight_map = Map::new();
    let mut parameters = 0;
    for shard in shards {
        for tensor in &shard.tensors {
            parameters += tensor.elements() as u64;
            weight_map.insert(tensor.name.clone(), shard.name.clone().into());
        }
    }
    let metadata = json!({"total_parameters": parameters, "total_size": width * parameters});
    json!({"metadata": metadata, "weight_map": weight_map})
}

/// The original's config with another dtype. What is merged is not quantised.
fn config(original: &Map<String, Value>, dtype: ExportDtype) -> Map<String, Value> {
    let (_, name, _) = dtype_names(dtype);
    let mut config = original.clone();
    config.shift_remove("quantization_config");
    for part in ["text_config", "vision_config"] {
        if let Some(Value::Object(part)) = config.get_mut(part) {
            set_dtype(part, name);
        }
    }
    // transformers 4 writes and reads it by its older name.
    if !set_dtype(&mut config, name) {
        config.insert("dtype".to_owned(), name.into());
    }
    config
}

/// Says that the head is a tensor of its own.
fn untie(config: &mut Map<String, Value>) {
    let untied = ("tie_word_embeddings".to_owned(), Value::Bool(false));
    if let Some(Value::Object(part)) = config.get_mut("text_config") {
        part.extend([untied.clone()]);
    }
    config.extend([untied]);
}

/// Whether there is one, which is then `name`.
fn set_dtype(config: &mut Map<String, Value>, name: &str) -> bool {
    let mut is_there = false;
    for key in ["dtype", "torch_dtype"] {
        if let Some(dtype) = config.get_mut(key) {
            *dtype = name.into();
            is_there = true;
        }
    }
    is_there
}

fn pretty(json: &Value) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(json).map_err(|error| Error::new(Code::Internal, error))?;
    bytes.push(b'\n');
    Ok(bytes)
}

impl ExportDtype {
    /// Appends values that the dtype has, little-endian.
    pub(super) fn encode(self, values: &[f32], out: &mut Vec<u8>) -> Result<()> {
        match self {
            ExportDtype::F32 => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            ExportDtype::F16 => {
                out.extend(values.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()));
            }
            ExportDtype::BF16 => {
                out.extend(values.iter().flat_map(|&value| half::bf16::from_f32(value).to_le_bytes()));
            }
            ExportDtype::Q8_0 => bail!(Internal, "q8_0 is no dtype of safetensors"),
        }
        Ok(())
    }
}
