//! Values as checkpoints have them: f32, or two of 16 bits a word, the first in the low half.

use super::{Layout, Packed, half_of, not_of_gguf};

pub(super) const F32: Layout = Layout {
    name: "f32",
    block: 1,
    row_words: |depth| depth,
    scale_words: |_, _| 0,
    value: |weight, row, k| f32::from_bits(weight.values[row * weight.depth + k]),
    pack: not_of_gguf,
    random: [|word, _| ((word >> 8) as f32 / (1 << 23) as f32 - 1.0).to_bits(), |word, _| word],
};

pub(super) const F16: Layout = Layout {
    name: "f16",
    row_words: |depth| depth / 2,
    value: |weight, row, k| half_of(half(weight, row, k)),
    // Exponents below that of one, in both halves.
    random: [|word, _| word & 0xbbff_bbff, |word, _| word],
    ..F32
};

pub(super) const BF16: Layout = Layout {
    name: "bf16",
    value: |weight, row, k| f32::from_bits(half(weight, row, k) << 16),
    random: [|word, _| word & 0xbf7f_bf7f, |word, _| word],
    ..F16
};

fn half(weight: &Packed, row: usize, k: usize) -> u32 {
    let index = row * weight.depth + k;
    weight.values[index / 2] >> (16 * (index % 2)) & 0xffff
}
