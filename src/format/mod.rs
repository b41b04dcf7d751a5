//! Bytes in, typed views out: safetensors files, checkpoints of one or many of them, and the formats in which weights
//! lie on a device. Knows nothing of models or devices; a whole tensor is never held here.

mod bitsandbytes;
mod checkpoint;
mod dynamic_map;
mod encoding;
pub mod gguf;
mod read;
mod safetensors;
mod sums;
mod weight;

pub use bitsandbytes::{Bits4, QuantType};
pub use checkpoint::Checkpoint;
pub use dynamic_map::{
    NESTED_BLOCK, NESTED_ROWS, NestedAbsmax, dequantize_absmax, double_quantize, dynamic_map, nested_groups,
    nested_words,
};
pub use encoding::Encoding;
pub use read::{pack_blocks, read_codes, read_rows, read_rows_raw};
pub use safetensors::{Converted, Dtype, TensorInfo, read_header};
pub use sums::TensorSums;
pub use weight::{
    FP4_CODES, INT8_STEP, Int8Rows, Layout, NF4_BLOCK, NF4_CODES, NF4_THRESHOLDS, Nf4Quantizer, Nf4Tensor,
    Packed, WeightFormat, quantize_int8,
};

use crate::bail;
use crate::error::Result;
use crate::files::Files;

/// Reads a small file such as a JSON index as a whole, `None` where there is none. A file of more
/// than `limit` bytes is refused with code `bad-model` before it is read.
pub async fn read_small(files: &dyn Files, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let Some(size) = files.size(name).await? else { return Ok(None) };
    if size > limit {
        bail!(BadModel, "{name} has {size} bytes, more than the {limit} that are read");
    }
    Ok(Some(files.read(name, 0, size as usize).await?))
}
