//! Q4_1: q·d + m, four bits a value, two f16 for each 32.

use super::block32::{block, nibble, pack_nibbles, small_halves};
use super::{Layout, any, half_of};

pub(super) const Q4_1: Layout = Layout {
    name: "q4_1",
    block: 32,
    row_words: |depth| depth / 8,
    scale_words: |rows, depth| rows * (depth / 32),
    value: |weight, row, k| {
        let scale = weight.scales[block(weight, row, k)];
        nibble(weight, 4, row, k) as f32 * half_of(scale) + half_of(scale >> 16)
    },
    pack: |from, values, scales| {
        scales.extend(&from[..4]);
        pack_nibbles(&from[4..], values);
    },
    random: [any, small_halves],
};
