//! Q4_K: q·(d·s) − (dmin·m), four bits a value, s and m of six bits for each 32, d and dmin of f16 for each 256.

use super::block32::nibble;
use super::k_quant::{code, random_scales, scale_and_minimum, scale_words};
use super::{Layout, any};

pub(super) const Q4_K: Layout = Layout {
    name: "q4_k",
    block: 256,
    row_words: |depth| depth / 8,
    scale_words,
    value: |weight, row, k| {
        let (scale, minimum) = scale_and_minimum(weight, row, k);
        nibble(weight, 4, row, k) as f32 * scale - minimum
    },
    pack: |from, values, scales| {
        scales.extend(&from[..16]);
        let bytes = &from[16..];
        values.extend((0..128).map(|pair| code(bytes, 2 * pair) | code(bytes, 2 * pair + 1) << 4));
    },
    random: [any, random_scales],
};
