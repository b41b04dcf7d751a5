//! Q5_K: q·(d·s) − (dmin·m), five bits a value, s and m of six bits for each 32, d and dmin of f16 for each 256.

use super::block32::{fifth, nibble};
use super::k_quant::{code, random_scales, scale_and_minimum, scale_words};
use super::{Layout, any};

pub(super) const Q5_K: Layout = Layout {
    name: "q5_k",
    block: 256,
    row_words: |depth| depth / 32 * 5,
    scale_words,
    value: |weight, row, k| {
        let (scale, minimum) = scale_and_minimum(weight, row, k);
        (nibble(weight, 5, row, k) | fifth(weight, row, k)) as f32 * scale - minimum
    },
    pack: |from, values, scales| {
        scales.extend(&from[..16]);
        let (fifths, bytes) = (&from[16..48], &from[48..]);
        for block in 0..8 {
            let first = 32 * block;
            values.extend((0..16).map(|pair| {
                let [even, odd] = [0, 1].map(|odd| code(bytes, first + 2 * pair + odd));
                even | odd << 4
            }));
            // Each byte has the bits of one place in all eight blocks.
            let of_block = |k: usize| u32::from(fifths[k] >> block & 1) << k;
            values.extend((0..32).fold(0, |word, k| word | of_block(k)).to_le_bytes());
        }
    },
    random: [any, |word, number| match random_scales(word, number) {
        pair if number.is_multiple_of(4) => pair & 0x83ff_83ff | 0x0800_0800,
        other => other,
    }],
};
