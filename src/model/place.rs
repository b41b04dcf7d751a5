//! Writes the weights of a checkpoint where products read them, in the format that they have there.

use std::ops::Range;

use super::architecture::pad8;
use super::weights::Part;
use crate::bail;
use crate::device::Store;
use crate::error::Result;
use crate::files::{Files, PIECE_BYTES};
use crate::format::{
    Encoding, Int8Rows, NF4_BLOCK, NestedAbsmax, Nf4Quantizer, Nf4Tensor, TensorInfo, WeightFormat,
    double_quantize, nested_words, pack_blocks, quantize_int8, read_codes, read_rows, read_rows_raw,
};
use crate::kernels::linear::Weight;
use crate::memory::Tensor;

/// A checkpoint's files, and the store that has room for its weights. One that is planned takes nothing.
pub(super) struct Placing<'a> {
    pub files: &'a dyn Files,
    pub store: &'a Store,
    pub double_quant: bool,
}

impl Placing<'_> {
    /// Writes one linear weight into those of the products that have `parts` of it.
    pub async fn linear(&self, info: &TensorInfo, parts: Vec<(Part, Weight)>) -> Result<()> {
        let Some((_, weight)) = parts.first() else { return Ok(()) };
        if self.store.is_planned() {
            return Ok(());
        }
        use WeightFormat::{Fp4, Fp4Any, Nf4, Nf4Any};
        if matches!(weight.format, Nf4 | Nf4Any | Fp4 | Fp4Any) {
            return self.four_bits(info, parts).await;
        }
        for (part, weight) in parts {
            self.rows(info, part.real_rows(), weight, part.at).await?;
        }
        Ok(())
    }

    /// Writes `rows` of a tensor from row `to_row` of `weight` on, which is a multiple of 8.
    pub async fn rows(
        &self,
        info: &TensorInfo,
        rows: Range<usize>,
        weight: Weight,
        to_row: usize,
    ) -> Result<()> {
        if self.store.is_planned() {
            return Ok(());
        }
        // Scales of eight rows are whole words.
        let per_piece = (info.rows_in(PIECE_BYTES) / 8 * 8).max(8);
        for row in rows.clone().step_by(per_piece) {
            let piece = row..rows.end.min(row + per_piece);
            let (values, scales) = self.packed(info, piece, weight.format).await?;
            let (at, depth) = (to_row + row - rows.start, info.row_elements());
            self.write(weight.values, 4 * at * weight.format.row_words(pad8(depth)), values);
            self.write(weight.scales, 4 * weight.format.scale_words(at, depth), scales);
        }
        Ok(())
    }

    fn write(&self, tensor: Tensor, at: usize, mut bytes: Vec<u8>) {
        if !bytes.is_empty() {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            self.store.write_at(tensor, at as u64, &bytes);
        }
    }

    /// Values and scales of some rows as a device has them.
    async fn packed(
        &self,
        info: &TensorInfo,
        rows: Range<usize>,
        format: WeightFormat,
    ) -> Result<(Vec<u8>, Vec<u8>)> {
        let (depth, row_bytes) = (info.row_elements(), 4 * format.row_words(pad8(info.row_elements())));
        let mut raw = Vec::new();
        match (&info.encoding, format) {
            (Encoding::Ggml(kind), _) => {
                read_rows_raw(self.files, info, rows.start, rows.len(), &mut raw).await?;
                let (mut values, mut scales) = (Vec::new(), Vec::new());
                pack_blocks(*kind, &raw, &mut values, &mut scales);
                Ok((values, scales))
            }
            (Encoding::Int8(absmax), WeightFormat::Int8) => {
                read_rows_raw(self.files, info, rows.start, rows.len(), &mut raw).await?;
                let mut scales = Vec::new();
                read_rows_raw(self.files, absmax, rows.start, rows.len(), &mut scales).await?;
                Ok((padded(raw, depth, row_bytes), scales))
            }
            (Encoding::Plain(_), WeightFormat::Int8) => {
                let (mut values, mut quantized) = (Vec::new(), Int8Rows::default());
                read_rows(self.files, info, rows.start, rows.len(), &mut values).await?;
                if let Some(index) = quantize_int8(&values, depth, &mut quantized) {
                    let (name, element) = (&info.name, rows.start * depth + index);
                    bail!(
                        BadModel,
                        "{}: tensor {name}: element {element} is too large for f16, which load_in_8bit rounds to; load \
                         the model without it",
                        info.file
                    );
                }
                let codes = bytemuck::cast_slice(&quantized.codes).to_vec();
                Ok((padded(codes, depth, row_bytes), bytemuck::cast_slice(&quantized.absmax).to_vec()))
            }
            (Encoding::Plain(_), _) => {
                read_rows_raw(self.files, info, rows.start, rows.len(), &mut raw).await?;
                Ok((padded(raw, depth * row_bytes / pad8(depth), row_bytes), Vec::new()))
            }
            (Encoding::Bits4(_) | Encoding::Int8(_), _) => {
                let mut values = Vec::new();
                read_rows(self.files, info, rows.start, rows.len(), &mut values).await?;
                Ok((padded(bytemuck::cast_slice(&values).to_vec(), 4 * depth, row_bytes), Vec::new()))
            }
        }
    }

    /// Writes a weight in codes of four bits: those of the file, or NF4 made of its values.
    async fn four_bits(&self, info: &TensorInfo, parts: Vec<(Part, Weight)>) -> Result<()> {
        let (weight, depth) = (parts[0].1, info.row_elements());
        let (mut tensor, nested) = match &info.encoding {
            Encoding::Bits4(bits) if info.encoding.format(depth) == Some(weight.format) => {
                bits.check_map(self.files).await?;
                let (elements, shape) = (info.elements(), info.shape.clone());
                let codes = read_codes(self.files, info, 0..elements).await?;
                let blocks = elements.div_ceil(NF4_BLOCK);
                let (mut absmax, mut nested) = (Vec::new(), None);
                match weight.is_nested {
                    true => nested = Some(bits.nested_scales(self.files, blocks).await?),
                    false => absmax = bits.scales(self.files, 0..blocks).await?,
                }
                (Nf4Tensor { shape, codes, absmax }, nested)
            }
            _ => self.quantized(info).await?,
        };
        if weight.format.runs_on() {
            let zero = if weight.format == WeightFormat::Nf4Any { NF4_ZERO } else { 0 };
            tensor.codes = padded_codes(&tensor, depth, zero);
        }
        let row_bytes = pad8(depth) / 2;
        // A part begins with a block.
        let block = |row: usize| row * depth / NF4_BLOCK;
        for (part, weight) in parts {
            let (rows, at) = (part.rows.clone(), part.at);
            let end = tensor.codes.len().min(rows.end * row_bytes);
            self.write(weight.values, at * row_bytes, tensor.codes[rows.start * row_bytes..end].to_vec());
            match &nested {
                Some(nested) if weight.is_nested => {
                    let words = nested.rows(block(1), part.real_rows());
                    self.store.write_at(weight.scales, 4 * nested_words(at, block(1)) as u64, &words);
                }
                _ => {
                    let end = tensor.absmax.len().min((rows.end * depth).div_ceil(NF4_BLOCK));
                    let scales = &tensor.absmax[block(rows.start)..end];
                    self.store.write_at(weight.scales, 4 * block(at) as u64, scales);
                }
            }
        }
        Ok(())
    }

    /// NF4 made of a weight's values, and its scales in 8 bits where these are asked for.
    async fn quantized(&self, info: &TensorInfo) -> Result<(Nf4Tensor, Option<NestedAbsmax>)> {
        let mut quantizer = Nf4Quantizer::new(&info.shape);
        let (rows, per_piece) = (info.rows(), info.rows_in(PIECE_BYTES));
        let mut values = Vec::new();
        for row in (0..rows).step_by(per_piece) {
            read_rows(self.files, info, row, per_piece.min(rows - row), &mut values).await?;
            quantizer.push(&values);
        }
        let mut quantized = quantizer.finish()?;
        let nested = self.double_quant.then(|| double_quantize(&mut quantized.absmax));
        Ok((quantized, nested))
    }
}

/// Rows of `true_bytes` with zeros up to `row_bytes` behind each.
fn padded(rows: Vec<u8>, true_bytes: usize, row_bytes: usize) -> Vec<u8> {
    if true_bytes == row_bytes {
        return rows;
    }
    let mut padded = vec![0; rows.len() / true_bytes * row_bytes];
    for (to, from) in padded.chunks_mut(row_bytes).zip(rows.chunks(true_bytes)) {
        to[..true_bytes].copy_from_slice(from);
    }
    padded
}

/// Two codes of zero in NF4.
pub const NF4_ZERO: u8 = 0x77;

/// Codes as bytes, rows and columns padded to a multiple of 8 with the code of zero: the first padding
/// row may share its scale with the last block.
pub fn padded_codes(tensor: &Nf4Tensor, true_depth: usize, zero: u8) -> Vec<u8> {
    let (rows, depth) = (tensor.shape[0], pad8(true_depth));
    let mut bytes = vec![zero; pad8(rows) * depth / 2];
    for row in 0..rows {
        for k in 0..true_depth {
            let from = row * true_depth + k;
            let code = tensor.codes[from / 2] >> (4 * (1 - from % 2)) & 15;
            let byte = &mut bytes[(row * depth + k) / 2];
            *byte = if k % 2 == 0 { *byte & 0x0f | code << 4 } else { *byte & 0xf0 | code };
        }
    }
    bytes
}
