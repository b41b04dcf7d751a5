//! How the values of a checkpoint's tensors lie in its files.

use std::fmt;

use super::bitsandbytes::Bits4;
use super::gguf::GgmlType;
use super::safetensors::{Dtype, TensorInfo};
use super::weight::WeightFormat;

#[derive(Clone, Debug, PartialEq)]
pub enum Encoding {
    /// One value behind another.
    Plain(Dtype),
    /// Blocks of GGUF, each within a row.
    Ggml(GgmlType),
    /// Codes of four bits with scales beside them.
    Bits4(Box<Bits4>),
    /// LLM.int8: signed bytes, and beside them the largest magnitude of each row, F32 [N].
    Int8(Box<TensorInfo>),
}

impl Encoding {
    /// The dtype of values that are not quantised.
    pub fn dtype(&self) -> Option<Dtype> {
        match self {
            Encoding::Plain(dtype) => Some(*dtype),
            Encoding::Ggml(_) | Encoding::Bits4(_) | Encoding::Int8(_) => None,
        }
    }

    /// Whether it holds floating-point values that can be read as f32.
    pub fn is_float(&self) -> bool {
        self.dtype().is_none_or(|dtype| matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16))
    }

    /// The device's format with the same values for rows of so many; `None` for what is no weight.
    pub fn format(&self, depth: usize) -> Option<WeightFormat> {
        let whole_blocks = depth.is_multiple_of(super::NF4_BLOCK);
        Some(match self {
            Encoding::Plain(Dtype::F32) => WeightFormat::F32,
            Encoding::Plain(Dtype::F16) => WeightFormat::F16,
            Encoding::Plain(Dtype::BF16) => WeightFormat::Bf16,
            Encoding::Plain(_) => return None,
            Encoding::Ggml(kind) => kind.format(),
            Encoding::Bits4(bits) => match (bits.quant_type, whole_blocks) {
                (super::QuantType::Nf4, true) => WeightFormat::Nf4,
                (super::QuantType::Nf4, false) => WeightFormat::Nf4Any,
                (super::QuantType::Fp4, true) => WeightFormat::Fp4,
                (super::QuantType::Fp4, false) => WeightFormat::Fp4Any,
            },
            Encoding::Int8(_) => WeightFormat::Int8,
        })
    }

    /// The bytes of `elements` consecutive values, where these are whole bytes.
    pub(super) fn bytes(&self, elements: usize) -> Option<u64> {
        let bits = match self {
            Encoding::Plain(dtype) => elements as u64 * dtype.bitsize() as u64,
            Encoding::Ggml(kind) => return kind.row_bytes(elements),
            Encoding::Bits4(_) => elements as u64 * 4,
            Encoding::Int8(_) => elements as u64 * 8,
        };
        bits.is_multiple_of(8).then_some(bits / 8)
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Encoding::Plain(dtype) => dtype.fmt(f),
            Encoding::Ggml(kind) => kind.fmt(f),
            Encoding::Bits4(bits) => bits.quant_type.fmt(f),
            Encoding::Int8(_) => f.write_str("int8"),
        }
    }
}
