//! NF4, the 4-bit NormalFloat format of QLoRA (Dettmers et al. 2023, <https://arxiv.org/abs/2305.14314>,
//! appendix E), with the codes and scales of bitsandbytes, bit for bit.

use super::{Layout, Packed, any, not_of_gguf, unit};
use crate::bail;
use crate::error::Result;

/// Consecutive values that share a scale.
pub const NF4_BLOCK: usize = 64;

/// The value of each code, before scaling.
pub const NF4_CODES: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Halfway between neighbouring codes; a scaled value strictly greater takes the upper code.
pub const NF4_THRESHOLDS: [f32; 15] = [
    -0.848_096_4,
    -0.610_632_9,
    -0.459_995_27,
    -0.339_679_42,
    -0.234_607_4,
    -0.137_911_74,
    -0.045_525_018,
    0.039_790_15,
    0.120_255_25,
    0.203_521_25,
    0.292_013_76,
    0.389_312_54,
    0.501_663_45,
    0.642_786_9,
    0.861_478_45,
];

pub(super) const NF4: Layout = Layout {
    name: "nf4",
    block: NF4_BLOCK,
    row_words: |depth| depth / 8,
    scale_words: |rows, depth| rows * depth / NF4_BLOCK,
    value: |weight, row, k| value_by(&NF4_CODES, weight, row, k),
    pack: not_of_gguf,
    random: [any, unit],
};

pub(super) const NF4_ANY: Layout = Layout {
    name: "nf4_any",
    block: 1,
    // Padding rows read past the last block; one block of zeros ends the list.
    scale_words: |rows, true_depth| (rows * true_depth).div_ceil(NF4_BLOCK) + 1,
    ..NF4
};

/// A value of a weight in 4-bit codes with scales in blocks of [`NF4_BLOCK`].
pub(super) fn value_by(codes: &[f32; 16], weight: &Packed, row: usize, k: usize) -> f32 {
    // The even element of a byte is in its high half.
    let shift = 8 * (k / 2 % 4) + 4 * (1 - k % 2);
    let code = weight.values[(row * weight.depth + k) / 8] >> shift & 15;
    codes[code as usize] * weight.scale((row * weight.true_depth + k) / NF4_BLOCK)
}

/// bitsandbytes' guard for a block of zeros.
pub(in crate::format) const SMALLEST_ABSMAX: f32 = 1e-38;

/// A quantised weight: value `i` is `NF4_CODES[code i] * absmax[i / 64]` in f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Nf4Tensor {
    pub shape: Vec<usize>,
    /// Two codes a byte, the even element in the high nibble; row-major without padding, but for
    /// the low nibble of the last byte when the number of elements is odd.
    pub codes: Vec<u8>,
    /// The largest magnitude of each block of [`NF4_BLOCK`] consecutive elements. Blocks straddle
    /// rows where 64 does not divide a row; the last one may be short.
    pub absmax: Vec<f32>,
}

impl Nf4Tensor {
    /// All values, row-major.
    pub fn dequantize(&self) -> Vec<f32> {
        let elements = self.shape.iter().product();
        let code = |i: usize| (self.codes[i / 2] >> (4 * (1 - i % 2))) & 0xf;
        (0..elements).map(|i| NF4_CODES[code(i) as usize] * self.absmax[i / NF4_BLOCK]).collect()
    }
}

/// Quantises one weight that arrives in slices of any lengths.
pub struct Nf4Quantizer {
    shape: Vec<usize>,
    /// The start of a block that the slices so far did not fill.
    partial: Vec<f32>,
    codes: Vec<u8>,
    absmax: Vec<f32>,
}

impl Nf4Quantizer {
    /// For a weight of this shape.
    pub fn new(shape: &[usize]) -> Self {
        let elements: usize = shape.iter().product();
        Nf4Quantizer {
            shape: shape.to_vec(),
            partial: Vec::with_capacity(NF4_BLOCK),
            codes: Vec::with_capacity(elements.div_ceil(2)),
            absmax: Vec::with_capacity(elements.div_ceil(NF4_BLOCK)),
        }
    }

    /// Takes the next values of the weight in row-major order. They must be finite.
    pub fn push(&mut self, mut values: &[f32]) {
        if !self.partial.is_empty() {
            let (head, rest) = values.split_at(values.len().min(NF4_BLOCK - self.partial.len()));
            self.partial.extend_from_slice(head);
            values = rest;
            if self.partial.len() < NF4_BLOCK {
                return;
            }
            self.flush_partial();
        }
        let (blocks, rest) = values.as_chunks::<NF4_BLOCK>();
        for block in blocks {
            self.quantize_block(block);
        }
        self.partial.extend_from_slice(rest);
    }

    /// The quantised weight.
    ///
    /// # Errors
    ///
    /// Code `internal` when more or fewer values came than the shape holds.
    pub fn finish(mut self) -> Result<Nf4Tensor> {
        let elements: usize = self.shape.iter().product();
        let got = 2 * self.codes.len() + self.partial.len();
        if got != elements {
            bail!(Internal, "a weight of shape {:?} was quantised from {got} values", self.shape);
        }
        if !self.partial.is_empty() {
            self.flush_partial();
        }
        Ok(Nf4Tensor { shape: self.shape, codes: self.codes, absmax: self.absmax })
    }

    fn flush_partial(&mut self) {
        let partial = std::mem::take(&mut self.partial);
        self.quantize_block(&partial);
        self.partial = partial;
        self.partial.clear();
    }

    fn quantize_block(&mut self, block: &[f32]) {
        // Magnitudes order as their bits do, and an integer maximum vectorises.
        let absmax =
            f32::from_bits(block.iter().map(|x| x.to_bits() & 0x7fff_ffff).max().unwrap_or_default());
        let scale = 1.0 / absmax.max(SMALLEST_ABSMAX);
        self.absmax.push(absmax);
        let (pairs, last) = block.as_chunks::<2>();
        self.codes.extend(pairs.iter().map(|[even, odd]| nearest(even * scale) << 4 | nearest(odd * scale)));
        self.codes.extend(last.iter().map(|even| nearest(even * scale) << 4 | nearest(0.0)));
    }
}

/// The code whose value is nearest to `x`: how many thresholds `x` exceeds, by a binary search
/// without branches.
#[inline]
fn nearest(x: f32) -> u8 {
    let mut code = 0;
    for half in [8, 4, 2, 1] {
        code += half * usize::from(x > NF4_THRESHOLDS[code + half - 1]);
    }
    code as u8
}
