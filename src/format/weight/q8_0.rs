//! Q8_0: q·d, a signed byte a value, an f16 for each 32.

use super::block32::{block, half_words};
use super::{Layout, Packed, any};

pub(super) const Q8_0: Layout = Layout {
    name: "q8_0",
    block: 32,
    row_words: |depth| depth / 4,
    scale_words: half_words,
    value: |weight, row, k| {
        let code = Packed::byte(weight.values, row * weight.depth + k) as i8;
        f32::from(code) * weight.half(block(weight, row, k))
    },
    pack: |from, values, scales| {
        scales.extend(&from[..2]);
        values.extend(&from[2..]);
    },
    random: [any, |word, _| word & 0x83ff_83ff | 0x1c00_1c00],
};
