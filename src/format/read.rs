//! Tensor data, a few rows at a time, as it is stored or as f32.
//!
//! Every value that is read is checked: NaN or infinity in a weight is an error here, because it
//! would otherwise come out much later as a loss that is NaN.

use std::ops::Range;

use half::{bf16, f16};

use super::bitsandbytes::Bits4;
use super::encoding::Encoding;
use super::gguf::{GgmlType, gguf_row};
use super::safetensors::{Dtype, TensorInfo};
use super::weight::{INT8_STEP, NF4_BLOCK, Packed};
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
    files: &dyn Files,
    tensor: &TensorInfo,
    first_row: usize,
    n_rows: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.clear();
    for rows in pieces(tensor, first_row, n_rows)? {
        out.extend(read_piece(files, tensor, rows).await?);
    }
    Ok(())
}

/// Replaces `out` with `n_rows` rows from `first_row` on, converted to f32, which is exact. Of a quantised tensor they are
/// what the codes stand for.
///
/// # Errors
///
/// As [`read_rows_raw`], and code `bad-model` when the dtype is not F32, F16 or BF16.
pub async fn read_rows(
    files: &dyn Files,
    tensor: &TensorInfo,
    first_row: usize,
    n_rows: usize,
    out: &mut Vec<f32>,
) -> Result<()> {
    if !tensor.encoding.is_float() {
        return Err(tensor.bad(format!("dtype {} is not F32, F16 or BF16", tensor.encoding)));
    }
    let pieces = pieces(tensor, first_row, n_rows)?;
    out.clear();
    out.reserve(n_rows * tensor.row_elements());
    for rows in pieces {
        match &tensor.encoding {
            Encoding::Bits4(bits) => out.extend(values_of_bits4(files, tensor, bits, rows).await?),
            Encoding::Int8(absmax) => {
                let bytes = read_piece(files, tensor, rows.clone()).await?;
                let mut scales = Vec::new();
                let depth = tensor.row_elements();
                Box::pin(read_rows(files, absmax, rows.start, rows.len(), &mut scales)).await?;
                let row = |(row, scale): (&[u8], &f32)| -> Vec<f32> {
                    row.iter().map(|&code| f32::from(code as i8) * scale * INT8_STEP).collect()
                };
                out.extend(bytes.chunks(depth).zip(&scales).flat_map(row));
            }
            Encoding::Ggml(kind) => {
                let bytes = read_piece(files, tensor, rows.clone()).await?;
                out.extend(values_of_blocks(*kind, &bytes, rows.len(), tensor.row_elements()));
            }
            Encoding::Plain(dtype) => {
                let bytes = read_piece(files, tensor, rows).await?;
                match dtype {
                    Dtype::F32 => out.extend(words(&bytes).map(f32::from_le_bytes)),
                    Dtype::F16 => out.extend(words(&bytes).map(|word| f16::from_le_bytes(word).to_f32())),
                    _ => out.extend(words(&bytes).map(|word| bf16::from_le_bytes(word).to_f32())),
                }
            }
        }
    }
    if tensor.converted.plus_one {
        out.iter_mut().for_each(|value| *value -= 1.0);
    }
    Ok(())
}

/// Appends to `values` and `scales` what a device has of blocks of GGUF.
pub fn pack_blocks(kind: GgmlType, blocks: &[u8], values: &mut Vec<u8>, scales: &mut Vec<u8>) {
    let pack = kind.format().layout().pack;
    blocks.chunks_exact(kind.block_bytes()).for_each(|block| pack(block, values, scales));
}

/// The values [rows, depth] of whole rows of blocks.
fn values_of_blocks(kind: GgmlType, blocks: &[u8], rows: usize, depth: usize) -> Vec<f32> {
    let (mut values, mut scales) = (Vec::new(), Vec::new());
    pack_blocks(kind, blocks, &mut values, &mut scales);
    scales.resize(scales.len().next_multiple_of(4), 0);
    let [values, scales]: [Vec<u32>; 2] =
        [values, scales].map(|bytes| words(&bytes).map(u32::from_le_bytes).collect());
    let packed = Packed { values: &values, scales: &scales, depth, true_depth: depth };
    let value = kind.format().layout().value;
    (0..rows).flat_map(|row| (0..depth).map(move |k| value(&packed, row, k))).collect()
}

/// The values of rows in codes of four bits.
async fn values_of_bits4(
    files: &dyn Files,
    tensor: &TensorInfo,
    bits: &Bits4,
    rows: Range<usize>,
) -> Result<Vec<f32>> {
    let depth = tensor.row_elements();
    let (first, end) = (rows.start * depth, rows.end * depth);
    let codes = read_codes(files, tensor, first..end).await?;
    let first_block = first / NF4_BLOCK;
    let scales = Box::pin(bits.scales(files, first_block..end.div_ceil(NF4_BLOCK))).await?;
    let values = bits.quant_type.codes();
    let value = |element: usize| {
        let code = codes[element / 2 - first / 2] >> (4 * (1 - element % 2)) & 15;
        values[usize::from(code)] * scales[element / NF4_BLOCK - first_block]
    };
    Ok((first..end).map(value).collect())
}

/// The bytes that hold the codes of some elements, two a byte.
pub async fn read_codes(files: &dyn Files, tensor: &TensorInfo, elements: Range<usize>) -> Result<Vec<u8>> {
    let (start, end) = (elements.start / 2, elements.end.div_ceil(2));
    read_bytes(files, tensor, start as u64, end - start).await
}

/// The ranges of rows of the reads that make up a request.
fn pieces(
    tensor: &TensorInfo,
    first_row: usize,
    n_rows: usize,
) -> Result<impl Iterator<Item = Range<usize>>> {
    let end = first_row.checked_add(n_rows).filter(|&end| end <= tensor.rows());
    let Some(end) = end else {
        bail!(
            Internal,
            "tensor {} has {} rows; {n_rows} from row {first_row} on were asked for",
            tensor.name,
            tensor.rows()
        );
    };
    let per_piece = tensor.rows_in(PIECE_BYTES);
    Ok((first_row..end).step_by(per_piece).map(move |row| row..end.min(row + per_piece)))
}

/// The bytes of some rows, in the order of the model's authors.
async fn read_piece(files: &dyn Files, tensor: &TensorInfo, rows: Range<usize>) -> Result<Vec<u8>> {
    let Some(head_dim) = tensor.converted.head_dim else {
        return read_as_it_lies(files, tensor, rows).await;
    };
    // Whole heads have all the rows.
    let first = rows.start / head_dim * head_dim;
    let heads = first..rows.end.next_multiple_of(head_dim).min(tensor.rows());
    let bytes = read_as_it_lies(files, tensor, heads).await?;
    let row_bytes = bytes.len() / (rows.end.next_multiple_of(head_dim).min(tensor.rows()) - first);
    let row = |row: usize| &bytes[(gguf_row(row, head_dim) - first) * row_bytes..][..row_bytes];
    Ok(rows.flat_map(row).copied().collect())
}

async fn read_as_it_lies(files: &dyn Files, tensor: &TensorInfo, rows: Range<usize>) -> Result<Vec<u8>> {
    let (first_element, elements) = (rows.start * tensor.row_elements(), rows.len() * tensor.row_elements());
    let sizes = (tensor.encoding.bytes(first_element), tensor.encoding.bytes(elements));
    let (Some(start), Some(length)) = sizes else {
        return Err(tensor.bad(format!("rows of dtype {} do not end on a byte", tensor.encoding)));
    };
    let bytes = read_bytes(files, tensor, start, length as usize).await?;
    let index = match &tensor.encoding {
        Encoding::Plain(dtype) => first_not_finite(*dtype, &bytes),
        Encoding::Ggml(kind) => {
            first_block_not_finite(*kind, &bytes).map(|block| block * kind.block_values())
        }
        Encoding::Bits4(_) | Encoding::Int8(_) => None,
    };
    if let Some(index) = index {
        return Err(tensor.bad(format!("element {} is NaN or infinite", first_element + index)));
    }
    Ok(bytes)
}

/// Bytes of a tensor, counted from its first.
async fn read_bytes(files: &dyn Files, tensor: &TensorInfo, start: u64, length: usize) -> Result<Vec<u8>> {
    let bytes = files.read(&tensor.file, tensor.start + start, length).await?;
    if bytes.len() != length {
        bail!(Io, "{}: {} bytes came where {length} were asked for", tensor.file, bytes.len());
    }
    Ok(bytes)
}

/// The index of the first block one of whose f16 is NaN or infinite.
fn first_block_not_finite(kind: GgmlType, bytes: &[u8]) -> Option<usize> {
    let halves: &[usize] = match kind {
        GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 => &[],
        GgmlType::Q8_0 | GgmlType::Q4_0 | GgmlType::Q5_0 => &[0],
        GgmlType::Q4_1 | GgmlType::Q5_1 | GgmlType::Q4_K | GgmlType::Q5_K => &[0, 2],
        GgmlType::Q6_K => &[208],
    };
    let is_finite = |block: &[u8], at: usize| !is_special_f16([block[at], block[at + 1]]);
    bytes.chunks_exact(kind.block_bytes()).position(|block| !halves.iter().all(|&at| is_finite(block, at)))
}

fn is_special_f16(word: [u8; 2]) -> bool {
    u16::from_le_bytes(word) & 0x7c00 == 0x7c00
}

/// The index of the first NaN or infinity: a value whose exponent bits are all set.
fn first_not_finite(dtype: Dtype, bytes: &[u8]) -> Option<usize> {
    match dtype {
        Dtype::F32 => words(bytes).position(|word| u32::from_le_bytes(word) & 0x7f80_0000 == 0x7f80_0000),
        Dtype::F16 => words(bytes).position(is_special_f16),
        Dtype::BF16 => words(bytes).position(|word| u16::from_le_bytes(word) & 0x7f80 == 0x7f80),
        _ => None,
    }
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}
