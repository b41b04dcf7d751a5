//! Tensor data, a few rows at a time, as it is stored or as f32.
//!
//! Every value that is read is checked: NaN or infinity in a weight is an error here, because it
//! would otherwise come out much later as a loss that is NaN.

use half::{bf16, f16};

use super::safetensors::{Dtype, TensorInfo};
use crate::bail;
use crate::error::Result;
use crate::files::{Files, PIECE_BYTES};

/// Replaces `out` with `n_rows` rows from `first_row` on, as stored: little-endian, row-major.
///
/// # Errors
///
/// Code `bad-model` naming file, tensor and element when a value of a floating dtype is NaN or
/// infinite; code `io` when the file can't be read.
pub async fn read_rows_raw(
    files: &impl Files,
    tensor: &TensorInfo,
    first_row: usize,
    n_rows: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.clear();
    let mut row = first_row;
    for rows in pieces(tensor, first_row, n_rows)? {
        out.extend(read_piece(files, tensor, row, rows).await?);
        row += rows;
    }
    Ok(())
}

/// Replaces `out` with `n_rows` rows from `first_row` on, converted to f32, which is exact.
///
/// # Errors
///
/// As [`read_rows_raw`], and code `bad-model` when the dtype is not F32, F16 or BF16.
pub async fn read_rows(
    files: &impl Files,
    tensor: &TensorInfo,
    first_row: usize,
    n_rows: usize,
    out: &mut Vec<f32>,
) -> Result<()> {
    if !matches!(tensor.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
        return Err(tensor.bad(format!("dtype {} is not F32, F16 or BF16", tensor.dtype)));
    }
    let pieces = pieces(tensor, first_row, n_rows)?;
    out.clear();
    out.reserve(n_rows * tensor.row_elements());
    let mut row = first_row;
    for rows in pieces {
        let bytes = read_piece(files, tensor, row, rows).await?;
        match tensor.dtype {
            Dtype::F32 => out.extend(words(&bytes).map(f32::from_le_bytes)),
            Dtype::F16 => out.extend(words(&bytes).map(|word| f16::from_le_bytes(word).to_f32())),
            _ => out.extend(words(&bytes).map(|word| bf16::from_le_bytes(word).to_f32())),
        }
        row += rows;
    }
    Ok(())
}

/// The row counts of the reads that make up a request.
fn pieces(tensor: &TensorInfo, first_row: usize, n_rows: usize) -> Result<impl Iterator<Item = usize>> {
    if first_row.checked_add(n_rows).is_none_or(|end| end > tensor.rows()) {
        bail!(
            Internal,
            "tensor {} has {} rows; {n_rows} from row {first_row} on were asked for",
            tensor.name,
            tensor.rows()
        );
    }
    let per_piece = tensor.rows_in(PIECE_BYTES);
    Ok((0..n_rows).step_by(per_piece).map(move |done| per_piece.min(n_rows - done)))
}

async fn read_piece(
    files: &impl Files,
    tensor: &TensorInfo,
    first_row: usize,
    n_rows: usize,
) -> Result<Vec<u8>> {
    let bits = tensor.dtype.bitsize() as u64;
    let first_element = first_row * tensor.row_elements();
    let elements = n_rows * tensor.row_elements();
    let ends_on_byte = |elements: usize| (elements as u64 * bits).is_multiple_of(8);
    if !ends_on_byte(first_element) || !ends_on_byte(elements) {
        return Err(tensor.bad(format!("rows of dtype {} do not end on a byte", tensor.dtype)));
    }
    let start = tensor.start + first_element as u64 * bits / 8;
    let length = (elements as u64 * bits / 8) as usize;
    let bytes = files.read(&tensor.file, start, length).await?;
    if bytes.len() != length {
        bail!(Io, "{}: {} bytes came where {length} were asked for", tensor.file, bytes.len());
    }
    if let Some(index) = first_not_finite(tensor.dtype, &bytes) {
        return Err(tensor.bad(format!("element {} is NaN or infinite", first_element + index)));
    }
    Ok(bytes)
}

/// The index of the first NaN or infinity: a value whose exponent bits are all set.
fn first_not_finite(dtype: Dtype, bytes: &[u8]) -> Option<usize> {
    match dtype {
        Dtype::F32 => words(bytes).position(|word| u32::from_le_bytes(word) & 0x7f80_0000 == 0x7f80_0000),
        Dtype::F16 => words(bytes).position(|word| u16::from_le_bytes(word) & 0x7c00 == 0x7c00),
        Dtype::BF16 => words(bytes).position(|word| u16::from_le_bytes(word) & 0x7f80 == 0x7f80),
        _ => None,
    }
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}
