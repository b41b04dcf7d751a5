//! The weights of a model: one safetensors file, shards with their index, or a GGUF.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::encoding::Encoding;
use super::gguf::{GgmlType, Gguf};
use super::safetensors::{Converted, Dtype, TensorInfo, UniqueMap, read_header};
use super::{bitsandbytes, read_small};
use crate::bail;
use crate::error::{Code, Error, Result};
use crate::files::Files;

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const MAX_INDEX_BYTES: u64 = 16 << 20;

/// The tensors of a model by name. Only headers have been read.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub tensors: BTreeMap<String, TensorInfo>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: UniqueMap<String>,
}

/// Whether a name means a file of the folder itself, on a disk and in an address alike.
fn is_file_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.bytes().all(plain) && !name.starts_with('.') && !name.contains("..")
}

impl Checkpoint {
    /// Reads the header of `model.safetensors`, or else `model.safetensors.index.json` and the headers of all shards that
    /// it names; or those of the GGUF that the files are. What bitsandbytes quantised is put together.
    ///
    /// # Errors
    ///
    /// Code `bad-model`, naming file and tensor, when a file is missing, truncated or inconsistent.
    pub async fn open(files: &dyn Files) -> Result<Self> {
        if let Some(name) = files.gguf() {
            return Ok(Checkpoint { tensors: tensors_of_gguf(&Gguf::open(files, &name).await?)? });
        }
        let mut tensors = tensors_of_folder(files).await?;
        bitsandbytes::join(files, &mut tensors).await?;
        Ok(Checkpoint { tensors })
    }

    /// The floating-point tensor `name`.
    ///
    /// # Errors
    ///
    /// Code `bad-model` when it is missing, has another shape than `shape`, or is neither F32, F16, BF16 nor quantised
    /// from these.
    pub fn require(&self, name: &str, shape: &[usize]) -> Result<&TensorInfo> {
        let Some(tensor) = self.tensors.get(name) else {
            bail!(BadModel, "tensor {name} {shape:?} is missing");
        };
        if tensor.shape != shape {
            return Err(tensor.bad(format!("shape {:?}, but the model wants {shape:?}", tensor.shape)));
        }
        if !tensor.encoding.is_float() {
            return Err(tensor.bad(format!("dtype {} is not F32, F16 or BF16", tensor.encoding)));
        }
        Ok(tensor)
    }
}

/// The tensors of a Hugging Face folder as its safetensors files list them.
async fn tensors_of_folder(files: &dyn Files) -> Result<BTreeMap<String, TensorInfo>> {
    if files.size(WEIGHTS).await?.is_some() {
        let tensors = read_header(files, WEIGHTS).await?;
        return Ok(tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect());
    }
    let Some(json) = read_small(files, INDEX, MAX_INDEX_BYTES).await? else {
        bail!(BadModel, "neither {WEIGHTS} nor {INDEX} is there");
    };
    let Index { weight_map: UniqueMap(shard_of) } = serde_json::from_slice(&json)
        .map_err(|error| Error::new(Code::BadModel, format!("{INDEX}: {error}")))?;

    let mut tensors = BTreeMap::new();
    for shard in shard_of.values().collect::<BTreeSet<_>>() {
        if !is_file_name(shard) {
            bail!(BadModel, "{INDEX}: the shard {shard:?} is not a file of the model's folder");
        }
        for tensor in read_header(files, shard).await? {
            // A tensor counts where the index says it lies, as in transformers.
            if shard_of.get(&tensor.name) == Some(shard) {
                tensors.insert(tensor.name.clone(), tensor);
            }
        }
    }
    for (name, shard) in &shard_of {
        if !tensors.contains_key(name) {
            bail!(BadModel, "{INDEX}: tensor {name} should be in {shard}, but isn't");
        }
    }
    Ok(tensors)
}

/// The tensors of a GGUF by the names that Hugging Face has for them. What no model is made of, such as the factors of
/// RoPE, is left out.
fn tensors_of_gguf(gguf: &Gguf) -> Result<BTreeMap<String, TensorInfo>> {
    let names = gguf.names()?;
    let head_dim = gguf.config()?["head_dim"].as_u64().map(|head_dim| head_dim as usize);
    let mut tensors = BTreeMap::new();
    for tensor in &gguf.tensors {
        let Some(name) = names.to_hf(&tensor.name) else { continue };
        let encoding = match tensor.kind {
            GgmlType::F32 => Encoding::Plain(Dtype::F32),
            GgmlType::F16 => Encoding::Plain(Dtype::F16),
            GgmlType::BF16 => Encoding::Plain(Dtype::BF16),
            kind => Encoding::Ggml(kind),
        };
        let head_dim = names.permuted(&name).and(head_dim);
        let info = TensorInfo {
            name: name.clone(),
            encoding,
            shape: tensor.shape.clone(),
            file: tensor.file.clone(),
            start: tensor.start,
            len: tensor.len,
            converted: Converted { head_dim, plus_one: names.is_plus_one(&name) },
        };
        let rows_have_blocks = info.shape.len() == 2 || matches!(info.encoding, Encoding::Plain(_));
        if !rows_have_blocks || head_dim.is_some_and(|rows| !info.rows().is_multiple_of(rows)) {
            return Err(info.bad(format!("{} {:?} is not what such a tensor is", info.encoding, info.shape)));
        }
        tensors.insert(name, info);
    }
    Ok(tensors)
}
