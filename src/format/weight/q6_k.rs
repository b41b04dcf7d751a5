//! Q6_K: (q − 32)·(d·s), six bits a value, a signed byte s for each 16, an f16 d for each 256.

use super::block32::nibble;
use super::{Layout, Packed, any, half_of};

/// Words of scales for each 256 values: sixteen bytes, and d as the low half of a word.
const WORDS: usize = 5;

pub(super) const Q6_K: Layout = Layout {
    name: "q6_k",
    block: 256,
    row_words: |depth| depth / 32 * 6,
    scale_words: |rows, depth| rows * (depth / 256) * WORDS,
    value: |weight, row, k| {
        let block = row * (weight.depth / 32) + k / 32;
        let high = weight.values[block * 6 + 4 + k % 32 / 16] >> (2 * (k % 16)) & 3;
        let code = nibble(weight, 6, row, k) | high << 4;
        let scales = &weight.scales[(row * (weight.depth / 256) + k / 256) * WORDS..][..WORDS];
        let scale = f32::from(Packed::byte(scales, k % 256 / 16) as i8);
        (code as f32 - 32.0) * (half_of(scales[4]) * scale)
    },
    pack: |from, values, scales| {
        let (low, high) = (&from[..128], &from[128..192]);
        let place = |k: usize| (k / 128, k % 128 / 32, k % 32);
        let nibble = |k: usize| {
            let (half, quarter, l) = place(k);
            low[64 * half + 32 * (quarter % 2) + l] >> (4 * (quarter / 2)) & 15
        };
        let two = |k: usize| {
            let (half, quarter, l) = place(k);
            high[32 * half + l] >> (2 * quarter) & 3
        };
        for first in (0..256).step_by(32) {
            values.extend((first..first + 32).step_by(2).map(|k| nibble(k) | nibble(k + 1) << 4));
            let fours = (first..first + 32).step_by(4);
            values.extend(fours.map(|k| (0..4).fold(0, |byte, i| byte | two(k + i) << (2 * i))));
        }
        scales.extend(&from[192..]);
        scales.extend([0, 0]);
    },
    random: [any, |word, number| if number % WORDS == 4 { word & 0x83ff | 0x0400 } else { word }],
};
