//! What the formats with blocks of 32 share: on a device a block is words of codes, of which each value has four bits,
//! and behind them those of what more bits it has.

use super::Packed;

/// The four bits of value `k` of a row whose blocks take `words` words each.
pub(super) fn nibble(weight: &Packed, words: usize, row: usize, k: usize) -> u32 {
    let block = row * (weight.depth / 32) + k / 32;
    weight.values[block * words + k % 32 / 8] >> (4 * (k % 8)) & 15
}

/// The fifth bit of value `k`, where blocks are four words of four bits and one of fifth ones.
pub(super) fn fifth(weight: &Packed, row: usize, k: usize) -> u32 {
    let block = row * (weight.depth / 32) + k / 32;
    (weight.values[block * 5 + 4] >> (k % 32) & 1) << 4
}

/// The number of the block that has value `k` of a row.
pub(super) fn block(weight: &Packed, row: usize, k: usize) -> usize {
    row * (weight.depth / 32) + k / 32
}

/// The words of four bits from the bytes of ggml's block, whose low halves are values 0 to 15 and whose high ones 16 to 31.
pub(super) fn pack_nibbles(bytes: &[u8], values: &mut Vec<u8>) {
    let code = |k: usize| bytes[k % 16] >> (4 * (k / 16)) & 15;
    values.extend((0..16).map(|pair| code(2 * pair) | code(2 * pair + 1) << 4));
}

/// The words of scales, one f16 a block.
pub(super) fn half_words(rows: usize, depth: usize) -> usize {
    (rows * (depth / 32)).div_ceil(2)
}

/// Two f16 in a word, both of at most 2⁻⁴ and at least half of that.
pub(super) fn small_halves(word: u32, _: usize) -> u32 {
    word & 0x83ff_83ff | 0x2800_2800
}
