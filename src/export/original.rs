//! The files that a model was loaded from, as an export reads them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::options::ExportDtype;
use crate::adapter::{ADAPTER_WEIGHTS, PeftAdapter};
use crate::bail;
use crate::error::{Code, Error, Result};
use crate::files::{Files, PIECE_BYTES};
use crate::format::{Checkpoint, Dtype, TensorInfo, read_rows, read_small};
use crate::model::{Architecture, EMBEDDING, Model, settle};

pub(super) const CONFIG: &str = "config.json";
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// A model's folder: its config and the headers of its weights have been read.
pub struct Original<'a> {
    pub(super) files: &'a dyn Files,
    pub(super) architecture: Architecture,
    /// `config.json` as it is.
    pub(super) config: Map<String, Value>,
    /// All tensors of the files, by their names there.
    pub(super) stored: BTreeMap<String, TensorInfo>,
    /// Those of the decoder, by the names of a model of text. A tied head is not among them.
    pub(super) tensors: BTreeMap<String, TensorInfo>,
}

impl<'a> Original<'a> {
    /// # Errors
    ///
    /// Code `bad-model` or `unsupported-model`, as loading the model has them.
    pub async fn open(files: &'a dyn Files) -> Result<Self> {
        let mut architecture = Model::architecture(files).await?;
        let json = read_small(files, CONFIG, MAX_CONFIG_BYTES).await?.unwrap_or_default();
        let config = serde_json::from_slice(&json)
            .map_err(|error| Error::new(Code::BadModel, format!("{CONFIG}: {error}")))?;
        let mut checkpoint = Checkpoint::open(files).await?;
        let mut stored = checkpoint.tensors.clone();
        settle(files, &mut checkpoint, &mut architecture, false).await?;
        let mut tensors = BTreeMap::new();
        for (name, shape) in architecture.checkpoint_tensors() {
            let tensor = checkpoint.require(&name, &shape)?.clone();
            tensors.insert(name, tensor);
        }
        if architecture.tied {
            // Both may be in the files, with the same values.
            let kept = &tensors[EMBEDDING].name;
            stored.retain(|name, _| name == kept || !name.ends_with("lm_head.weight"));
        }
        Ok(Original { files, architecture, config, stored, tensors })
    }

    /// The dtype that transformers would load the model in: the config's, or else that of the first matrix.
    pub(super) fn dtype(&self) -> ExportDtype {
        let named = self.config.get("dtype").or_else(|| self.config.get("torch_dtype"));
        let of_text = || self.config.get("text_config").and_then(|text| text.get("dtype"));
        match named.or_else(of_text).and_then(Value::as_str) {
            Some("float32") => ExportDtype::F32,
            Some("float16") => ExportDtype::F16,
            Some("bfloat16") => ExportDtype::BF16,
            _ => stored_dtype(&self.tensors[EMBEDDING]).unwrap_or(ExportDtype::BF16),
        }
    }

    /// Makes sure that what PEFT saved of the base beside an adapter is what the base has.
    pub(super) async fn leave_out_base(&self, files: &dyn Files, adapter: &PeftAdapter) -> Result<()> {
        for (name, tensor) in &adapter.of_base {
            let own = self.tensors.get(*name).unwrap_or(&self.tensors[EMBEDDING]);
            if tensor.shape != own.shape || !self.has_rows(own, files, tensor).await? {
                bail!(
                    BadAdapter,
                    "{ADAPTER_WEIGHTS}: {name} differs from the model's: the vocabulary was changed, or trained along, when \
                     this adapter was made; take the model that it was made for"
                );
            }
        }
        Ok(())
    }

    async fn has_rows(&self, own: &TensorInfo, files: &dyn Files, other: &TensorInfo) -> Result<bool> {
        let (mut values, mut others) = (Vec::new(), Vec::new());
        for rows in row_pieces(own, 1) {
            read_rows(self.files, own, rows.start, rows.len(), &mut values).await?;
            read_rows(files, other, rows.start, rows.len(), &mut others).await?;
            if values != others {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The dtype that a tensor is stored in, `None` for integers, which no weight of a decoder has. Codes have scales of f16 or
/// stand for weights that were in 16 bits.
pub(super) fn stored_dtype(tensor: &TensorInfo) -> Option<ExportDtype> {
    match tensor.dtype() {
        None => Some(ExportDtype::F16),
        Some(Dtype::F32) => Some(ExportDtype::F32),
        Some(Dtype::F16) => Some(ExportDtype::F16),
        Some(Dtype::BF16) => Some(ExportDtype::BF16),
        Some(_) => None,
    }
}

/// The rows that are on the host together: a quarter of [`PIECE_BYTES`] as f32, and one at least. Their number is a
/// multiple of `multiple`.
pub(super) fn row_pieces(
    tensor: &TensorInfo,
    multiple: usize,
) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
    let rows = tensor.rows();
    let per_piece = (PIECE_BYTES / 4 / (4 * multiple * tensor.row_elements().max(1))).max(1) * multiple;
    (0..rows).step_by(per_piece).map(move |first| first..rows.min(first + per_piece))
}
