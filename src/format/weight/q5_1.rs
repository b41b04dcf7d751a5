//! Q5_1: q·d + m, five bits a value, two f16 for each 32.

use super::block32::{block, fifth, nibble, pack_nibbles};
use super::{Layout, any, half_of};

pub(super) const Q5_1: Layout = Layout {
    name: "q5_1",
    block: 32,
    row_words: |depth| depth / 32 * 5,
    scale_words: |rows, depth| rows * (depth / 32),
    value: |weight, row, k| {
        let scale = weight.scales[block(weight, row, k)];
        let code = nibble(weight, 5, row, k) | fifth(weight, row, k);
        code as f32 * half_of(scale) + half_of(scale >> 16)
    },
    pack: |from, values, scales| {
        scales.extend(&from[..4]);
        pack_nibbles(&from[8..], values);
        values.extend(&from[4..8]);
    },
    random: [any, |word, _| word & 0x83ff_83ff | 0x2400_2400],
};
