//! The weights of a Hugging Face folder: one safetensors file, or shards with their index.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::read_small;
use super::safetensors::{Dtype, TensorInfo, UniqueMap, read_header};
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
    /// Reads the header of `model.safetensors`, or else `model.safetensors.index.json` and the
    /// headers of all shards that it names.
    ///
    /// # Errors
    ///
    /// Code `bad-model`, naming file and tensor, when a file is missing, truncated or inconsistent.
    pub async fn open(files: &impl Files) -> Result<Self> {
        if files.size(WEIGHTS).await?.is_some() {
            let tensors = read_header(files, WEIGHTS).await?;
            return Ok(Checkpoint {
                tensors: tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect(),
            });
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
        Ok(Checkpoint { tensors })
    }

    /// The floating-point tensor `name`.
    ///
    /// # Errors
    ///
    /// Code `bad-model` when it is missing, has another shape than `shape`, or is not F32, F16 or
    /// BF16.
    pub fn require(&self, name: &str, shape: &[usize]) -> Result<&TensorInfo> {
        let Some(tensor) = self.tensors.get(name) else {
            bail!(BadModel, "tensor {name} {shape:?} is missing");
        };
        if tensor.shape != shape {
            return Err(tensor.bad(format!("shape {:?}, but the model wants {shape:?}", tensor.shape)));
        }
        if !matches!(tensor.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(tensor.bad(format!("dtype {} is not F32, F16 or BF16", tensor.dtype)));
        }
        Ok(tensor)
    }
}
