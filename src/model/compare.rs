//! Rows on the GPU beside those of a file.

use half::{bf16, f16};

use super::architecture::pad8;
use super::weights::Slab;
use crate::device::{Device, ReadbackRing, Store};
use crate::error::Result;
use crate::files::{Files, PIECE_BYTES};
use crate::format::{TensorInfo, read_rows};
use crate::kernels::linear::WeightFormat;

/// Whether `slabs` hold exactly the values [rows, width] of `tensor`.
pub async fn are_rows(
    device: &Device,
    store: &Store,
    slabs: &[Slab],
    files: &impl Files,
    tensor: &TensorInfo,
) -> Result<bool> {
    let width = tensor.row_elements();
    if slabs.iter().map(|slab| slab.n_ids).sum::<usize>() != tensor.rows() {
        return Ok(false);
    }
    let mut wanted = Vec::new();
    for slab in slabs {
        let row_bytes = slab.weight.format.row_words(pad8(width)) * 4;
        let per_piece = (PIECE_BYTES / row_bytes).max(1);
        for row in (0..slab.n_ids).step_by(per_piece) {
            let rows = per_piece.min(slab.n_ids - row);
            let place = slab.weight.values.slice((row * row_bytes) as u64, (rows * row_bytes) as u64);
            let bytes: Vec<u8> = ReadbackRing::read(device, store, place).await?;
            read_rows(files, tensor, slab.first_id + row, rows, &mut wanted).await?;
            let found = bytes.chunks(row_bytes).map(|row| decoded(slab.weight.format, row));
            if !found.zip(wanted.chunks(width)).all(|(found, wanted)| found[..width] == *wanted) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The values of a row that is not quantised.
fn decoded(format: WeightFormat, row: &[u8]) -> Vec<f32> {
    match format {
        WeightFormat::F16 => {
            row.as_chunks().0.iter().map(|&word| f16::from_le_bytes(word).to_f32()).collect()
        }
        WeightFormat::Bf16 => {
            row.as_chunks().0.iter().map(|&word| bf16::from_le_bytes(word).to_f32()).collect()
        }
        _ => row.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect(),
    }
}
