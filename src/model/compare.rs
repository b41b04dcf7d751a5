//! Rows on the GPU beside those of a file.

use std::ops::Range;

use super::architecture::pad8;
use super::weights::Slab;
use crate::device::{Device, ReadbackRing, Store};
use crate::error::Result;
use crate::files::{Files, PIECE_BYTES};
use crate::format::{Packed, TensorInfo, WeightFormat, read_rows};

/// Whether `slabs` hold exactly the values [rows, width] of `tensor`.
pub async fn are_rows(
    device: &Device,
    store: &Store,
    slabs: &[Slab],
    files: &dyn Files,
    tensor: &TensorInfo,
) -> Result<bool> {
    let width = tensor.row_elements();
    if slabs.iter().map(|slab| slab.n_ids).sum::<usize>() != tensor.rows() {
        return Ok(false);
    }
    let mut wanted = Vec::new();
    for slab in slabs {
        // A binding can start at these rows, whatever a row and its scales take.
        let per_piece = (PIECE_BYTES / (4 * slab.weight.format.row_words(pad8(width))) / 128 * 128).max(128);
        for row in (0..slab.n_ids).step_by(per_piece) {
            let rows = per_piece.min(slab.n_ids - row);
            let found = values(device, store, slab, width, row..row + rows).await?;
            read_rows(files, tensor, slab.first_id + row, rows, &mut wanted).await?;
            if found != wanted {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The values [rows, width] of rows of a slab, of which the first is a multiple of 8.
async fn values(
    device: &Device,
    store: &Store,
    slab: &Slab,
    width: usize,
    rows: Range<usize>,
) -> Result<Vec<f32>> {
    let (weight, depth) = (slab.weight, pad8(width));
    let place = |of: fn(WeightFormat, usize, usize) -> usize, width: usize| {
        let [start, end] = [rows.start, pad8(rows.end)].map(|row| 4 * of(weight.format, row, width) as u64);
        (start, end - start)
    };
    let (start, len) = place(|format, rows, depth| rows * format.row_words(depth), depth);
    let values: Vec<u32> = ReadbackRing::read(device, store, weight.values.slice(start, len)).await?;
    let scales: Vec<u32> = match place(WeightFormat::scale_words, width) {
        (_, 0) => Vec::new(),
        (start, len) => ReadbackRing::read(device, store, weight.scales.slice(start, len)).await?,
    };
    let packed = Packed { values: &values, scales: &scales, depth, true_depth: width };
    let value = weight.format.layout().value;
    Ok((0..rows.len()).flat_map(|row| (0..width).map(move |k| value(&packed, row, k))).collect())
}
