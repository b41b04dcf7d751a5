//! How frozen weights lie on a device: a file for each format, whose twin in WGSL is
//! `shaders/shared/weight/<name>.wgsl`.
//!
//! A weight [N, K] is two tensors of words: values, row by row, and what scales them, block by block. Rows and columns
//! are padded to multiples of 8. In the formats of GGUF (llama.cpp's `ggml-quants.c`) a block lies within a row, and its
//! bits are those of the file, laid so that words hold consecutive values.

mod block32;
mod dense;
mod fp4;
mod int8;
mod k_quant;
pub(super) mod nf4;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;

use serde::{Deserialize, Serialize};

pub use fp4::FP4_CODES;
pub use int8::{INT8_STEP, Int8Rows, quantize_int8};
pub use nf4::{NF4_BLOCK, NF4_CODES, NF4_THRESHOLDS, Nf4Quantizer, Nf4Tensor};

/// How a frozen weight lies on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightFormat {
    /// NF4 whose rows hold whole blocks of 64.
    Nf4,
    /// NF4 whose blocks run on from row to row; never stacked.
    Nf4Any,
    F32,
    F16,
    Bf16,
    /// bitsandbytes' FP4, whose rows hold whole blocks of 64.
    Fp4,
    /// FP4 whose blocks run on from row to row; never stacked.
    Fp4Any,
    /// bitsandbytes' LLM.int8: a scale for each row.
    Int8,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q4K,
    Q5K,
    Q6K,
}

/// What a format is.
pub struct Layout {
    /// The name of the shader variant.
    pub name: &'static str,
    /// A row's length is a multiple of it.
    pub block: usize,
    /// The 4-byte words of a row of so many values, a multiple of 8.
    pub row_words: fn(usize) -> usize,
    /// The 4-byte words of the scales of so many rows (a multiple of 8) of so many values (without padding).
    pub scale_words: fn(usize, usize) -> usize,
    /// The value at a row and column.
    pub value: fn(&Packed<'_>, usize, usize) -> f32,
    /// Appends the values and the scales of one block of a GGUF, whose length is the format's own.
    pub pack: fn(&[u8], &mut Vec<u8>, &mut Vec<u8>),
    /// Any word of values and any word of scales with its number, turned into such of values within ±1: for tuning and
    /// tests.
    pub random: [fn(u32, usize) -> u32; 2],
}

/// A weight as it lies on a device.
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    pub values: &'a [u32],
    pub scales: &'a [u32],
    /// K rounded up to a multiple of 8.
    pub depth: usize,
    /// K without padding.
    pub true_depth: usize,
}

impl Packed<'_> {
    fn scale(&self, index: usize) -> f32 {
        f32::from_bits(self.scales[index])
    }

    /// Number `index` of the scales as f16.
    fn half(&self, index: usize) -> f32 {
        half_of(self.scales[index / 2] >> (16 * (index % 2)))
    }

    fn byte(words: &[u32], index: usize) -> u32 {
        words[index / 4] >> (8 * (index % 4)) & 255
    }
}

/// The f16 in the low half of a word.
fn half_of(word: u32) -> f32 {
    half::f16::from_bits(word as u16).to_f32()
}

/// The `pack` of formats that no GGUF has.
fn not_of_gguf(_: &[u8], _: &mut Vec<u8>, _: &mut Vec<u8>) {
    unreachable!("GGUF has no such blocks")
}

/// The word as it is: whatever the bits are, values are within ±1.
fn any(word: u32, _: usize) -> u32 {
    word
}

/// An f32 in 0.5..1.
fn unit(word: u32, _: usize) -> u32 {
    word >> 9 | 0.5f32.to_bits()
}

impl WeightFormat {
    pub const ALL: [WeightFormat; 16] = [
        WeightFormat::Nf4,
        WeightFormat::Nf4Any,
        WeightFormat::F32,
        WeightFormat::F16,
        WeightFormat::Bf16,
        WeightFormat::Fp4,
        WeightFormat::Fp4Any,
        WeightFormat::Int8,
        WeightFormat::Q8_0,
        WeightFormat::Q4_0,
        WeightFormat::Q4_1,
        WeightFormat::Q5_0,
        WeightFormat::Q5_1,
        WeightFormat::Q4K,
        WeightFormat::Q5K,
        WeightFormat::Q6K,
    ];

    pub const fn layout(self) -> &'static Layout {
        match self {
            WeightFormat::Nf4 => &nf4::NF4,
            WeightFormat::Nf4Any => &nf4::NF4_ANY,
            WeightFormat::F32 => &dense::F32,
            WeightFormat::F16 => &dense::F16,
            WeightFormat::Bf16 => &dense::BF16,
            WeightFormat::Fp4 => &fp4::FP4,
            WeightFormat::Fp4Any => &fp4::FP4_ANY,
            WeightFormat::Int8 => &int8::INT8,
            WeightFormat::Q8_0 => &q8_0::Q8_0,
            WeightFormat::Q4_0 => &q4_0::Q4_0,
            WeightFormat::Q4_1 => &q4_1::Q4_1,
            WeightFormat::Q5_0 => &q5_0::Q5_0,
            WeightFormat::Q5_1 => &q5_1::Q5_1,
            WeightFormat::Q4K => &q4_k::Q4_K,
            WeightFormat::Q5K => &q5_k::Q5_K,
            WeightFormat::Q6K => &q6_k::Q6_K,
        }
    }

    pub const fn name(self) -> &'static str {
        self.layout().name
    }

    /// See [`Layout::row_words`].
    pub fn row_words(self, depth: usize) -> usize {
        (self.layout().row_words)(depth)
    }

    /// See [`Layout::scale_words`].
    pub fn scale_words(self, rows: usize, true_depth: usize) -> usize {
        (self.layout().scale_words)(rows, true_depth)
    }

    /// Whether blocks run on from one row into the next, so that layers cannot be stacked.
    pub const fn runs_on(self) -> bool {
        matches!(self, WeightFormat::Nf4Any | WeightFormat::Fp4Any)
    }

    /// Whether values are codes that scales multiply.
    pub fn is_quantized(self) -> bool {
        self.scale_words(8, 256) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_tunings_keep() {
        for format in WeightFormat::ALL {
            assert_eq!(serde_json::to_value(format).unwrap(), format.name());
        }
    }
}
