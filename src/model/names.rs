//! Which tensor of a checkpoint is which, where files depart from what `config.json` says.

use std::collections::BTreeMap;

use super::architecture::Architecture;
use crate::error::Result;
use crate::files::{Files, PIECE_BYTES};
use crate::format::{Checkpoint, TensorInfo, read_rows};

pub const EMBEDDING: &str = "model.embed_tokens.weight";
pub const HEAD: &str = "lm_head.weight";
pub const FINAL_NORM: &str = "model.norm.weight";
/// What comes before the number of a layer.
pub const LAYERS: &str = "model.layers";
const PREFIX: &str = "model.";

/// Brings the names and `architecture.tied` to what the files hold, as transformers 5 does while
/// loading (`tie_weights` and `base_model_prefix` in its `modeling_utils.py`):
///
/// - a model that was saved without its head lacks the prefix of its tensors, which is added;
/// - an embedding and a head that both are there with different values are not tied, whatever the config says;
/// - of a tied pair, the one that is there stands for both.
///
/// With `is_planned` no weight is read: then two that are there count as different, which takes more.
pub async fn settle(
    files: &dyn Files,
    checkpoint: &mut Checkpoint,
    architecture: &mut Architecture,
    is_planned: bool,
) -> Result<()> {
    let tensors = &mut checkpoint.tensors;
    keep_text(tensors);
    if !tensors.keys().any(|name| name.starts_with(PREFIX)) {
        let whole = std::mem::take(tensors).into_iter().map(|(name, tensor)| {
            let name = if name == HEAD { name } else { format!("{PREFIX}{name}") };
            (name, tensor)
        });
        *tensors = whole.collect();
    }
    if !architecture.tied {
        return Ok(());
    }
    match (tensors.get(EMBEDDING), tensors.get(HEAD)) {
        (Some(embedding), Some(head)) => {
            architecture.tied = !is_planned && are_equal(files, embedding, head).await?;
        }
        (None, Some(head)) => {
            let head = head.clone();
            tensors.insert(EMBEDDING.to_owned(), head);
        }
        _ => {}
    }
    Ok(())
}

/// Of a model that sees pictures too, the text part alone, by the names that it has in a model of text. Such files
/// begin with `language_model.` (transformers 4) or `model.language_model.` (transformers 5).
fn keep_text(tensors: &mut BTreeMap<String, TensorInfo>) {
    let text_name = |name: &str| -> Option<String> {
        if let Some(rest) = name.strip_prefix("model.language_model.") {
            return Some(format!("{PREFIX}{rest}"));
        }
        name.strip_prefix("language_model.").map(str::to_owned)
    };
    if !tensors.keys().any(|name| text_name(name).is_some()) {
        return;
    }
    let whole = std::mem::take(tensors).into_iter();
    let text = whole.filter_map(|(name, tensor)| match text_name(&name) {
        Some(name) => Some((name, tensor)),
        None => (name == HEAD).then_some((name, tensor)),
    });
    *tensors = text.collect();
}

async fn are_equal(files: &dyn Files, one: &TensorInfo, other: &TensorInfo) -> Result<bool> {
    if one.shape != other.shape {
        return Ok(false);
    }
    let per_piece = one.rows_in(PIECE_BYTES);
    let (mut values, mut others) = (Vec::new(), Vec::new());
    for row in (0..one.rows()).step_by(per_piece) {
        let rows = per_piece.min(one.rows() - row);
        read_rows(files, one, row, rows, &mut values).await?;
        read_rows(files, other, row, rows, &mut others).await?;
        if values != others {
            return Ok(false);
        }
    }
    Ok(true)
}
