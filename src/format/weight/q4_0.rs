//! Q4_0: (q − 8)·d, four bits a value, an f16 for each 32.

use super::block32::{block, half_words, nibble, pack_nibbles, small_halves};
use super::{Layout, any};

pub(super) const Q4_0: Layout = Layout {
    name: "q4_0",
    block: 32,
    row_words: |depth| depth / 8,
    scale_words: half_words,
    value: |weight, row, k| (nibble(weight, 4, row, k) as f32 - 8.0) * weight.half(block(weight, row, k)),
    pack: |from, values, scales| {
        scales.extend(&from[..2]);
        pack_nibbles(&from[2..], values);
    },
    random: [any, small_halves],
};
