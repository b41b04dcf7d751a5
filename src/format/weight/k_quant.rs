//! What Q4_K and Q5_K share: eight blocks of 32 under one pair of f16, each with a scale and a minimum of six bits.

use super::{Packed, half_of};

/// Words of scales for each 256 values: the two f16, and the twelve bytes as ggml has them.
const WORDS: usize = 4;

pub(super) fn scale_words(rows: usize, depth: usize) -> usize {
    rows * (depth / 256) * WORDS
}

/// The scale and the minimum of the 32 values that have value `k` of a row (`get_scale_min_k4` in `ggml-quants.c`).
pub(super) fn scale_and_minimum(weight: &Packed, row: usize, k: usize) -> (f32, f32) {
    let first = (row * (weight.depth / 256) + k / 256) * WORDS;
    let [of_both, a, b, c] = weight.scales[first..].first_chunk().copied().expect("a weight is whole");
    let sub = k % 256 / 32;
    let [a, b, c] = [a, b, c].map(|word| word >> (8 * (sub % 4)) & 255);
    let (scale, minimum) = match sub {
        0..4 => (a & 63, b & 63),
        _ => (c & 15 | a >> 6 << 4, c >> 4 | b >> 6 << 4),
    };
    (half_of(of_both) * scale as f32, half_of(of_both >> 16) * minimum as f32)
}

/// The bytes of 64 consecutive values: the low halves are the first 32 of them.
pub(super) fn code(bytes: &[u8], k: usize) -> u8 {
    bytes[k / 64 * 32 + k % 32] >> (4 * (k % 64 / 32)) & 15
}

/// Words of scales such that values are within ±1: the pair of f16 is at most 2⁻¹¹.
pub(super) fn random_scales(word: u32, number: usize) -> u32 {
    if number.is_multiple_of(WORDS) { word & 0x83ff_83ff | 0x0c00_0c00 } else { word }
}
