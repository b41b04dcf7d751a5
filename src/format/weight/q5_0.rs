//! Q5_0: (q − 16)·d, five bits a value, an f16 for each 32.

use super::block32::{block, fifth, half_words, nibble, pack_nibbles, small_halves};
use super::{Layout, any};

pub(super) const Q5_0: Layout = Layout {
    name: "q5_0",
    block: 32,
    row_words: |depth| depth / 32 * 5,
    scale_words: half_words,
    value: |weight, row, k| {
        let code = nibble(weight, 5, row, k) | fifth(weight, row, k);
        (code as f32 - 16.0) * weight.half(block(weight, row, k))
    },
    pack: |from, values, scales| {
        scales.extend(&from[..2]);
        pack_nibbles(&from[6..], values);
        values.extend(&from[2..6]);
    },
    random: [any, small_halves],
};
