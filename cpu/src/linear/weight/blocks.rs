//! Codes of four to eight bits with the scales of their blocks: the formats of GGUF, and LLM.int8 of bitsandbytes.
//!
//! f16 scales times codes are exact in f32, so both flavours of SIMD give the same values.

use super::{Format, Weight};
use crate::params::INT8_STEP;
use crate::simd::{Vector, eight, f16_to_f32};

/// The codes of eight values from `depth` on, where 32 of them have four words of four bits and behind these the words
/// of their other bits, `WORDS` in all.
#[inline(always)]
fn codes<V: Vector, const WORDS: usize>(weight: &Weight, row: usize, depth: usize) -> V {
    let first = (row * weight.depth + depth) / 32 * WORDS;
    let words: &[u32; WORDS] = weight.words[first..].first_chunk().expect("a weight is whole");
    let part = depth % 32 / 8;
    let low = words[part];
    V::of(&match WORDS {
        4 => eight!(|i| (low >> (4 * i) & 15) as f32),
        5 => {
            let fifth = words[4] >> (8 * part);
            eight!(|i| (low >> (4 * i) & 15 | (fifth >> i & 1) << 4) as f32)
        }
        _ => {
            let high = words[4 + part / 2] >> (16 * (part % 2));
            eight!(|i| (low >> (4 * i) & 15 | (high >> (2 * i) & 3) << 4) as f32)
        }
    })
}

/// Eight signed bytes.
#[inline(always)]
fn bytes<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
    let words: &[u32; 2] = weight.words(row, depth);
    V::of(&eight!(|i| ((words[i / 4] >> (8 * (i % 4))) as i8) as f32))
}

/// The number of the block of 32 that has a value.
#[inline(always)]
fn block(weight: &Weight, row: usize, depth: usize) -> usize {
    (row * weight.depth + depth) / 32
}

/// The f16 of a block of 32, where each has one.
#[inline(always)]
fn half<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
    let block = block(weight, row, depth);
    V::splat(f16_to_f32(weight.scales[block / 2] >> (16 * (block % 2)) & 0xffff))
}

/// The two f16 of a word.
#[inline(always)]
fn pair(word: u32) -> (f32, f32) {
    (f16_to_f32(word & 0xffff), f16_to_f32(word >> 16))
}

/// q·d + m by the two f16 of a block of 32.
#[inline(always)]
fn with_minimum<V: Vector, const WORDS: usize>(weight: &Weight, row: usize, depth: usize) -> V {
    let (scale, minimum) = pair(weight.scales[block(weight, row, depth)]);
    codes::<V, WORDS>(weight, row, depth) * V::splat(scale) + V::splat(minimum)
}

/// q·(d·s) − (dmin·m) by the six bits of a block of 32 and the two f16 of eight of them.
#[inline(always)]
fn with_scaled_minimum<V: Vector, const WORDS: usize>(weight: &Weight, row: usize, depth: usize) -> V {
    let first = (row * weight.depth + depth) / 256 * 4;
    let [of_all, a, b, c]: [u32; 4] = *weight.scales[first..].first_chunk().expect("a weight is whole");
    let sub = depth % 256 / 32;
    let [a, b, c] = [a, b, c].map(|word| word >> (8 * (sub % 4)) & 255);
    let (scale, minimum) = match sub {
        0..4 => (a & 63, b & 63),
        _ => (c & 15 | a >> 6 << 4, c >> 4 | b >> 6 << 4),
    };
    let (d, dmin) = pair(of_all);
    let (scale, minimum) = (V::splat(d * scale as f32), V::splat(dmin * minimum as f32));
    codes::<V, WORDS>(weight, row, depth) * scale - minimum
}

#[derive(Clone, Copy)]
pub struct Int8;

impl Format for Int8 {
    const WORDS: usize = 8;

    #[inline(always)]
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
        bytes::<V>(weight, row, depth) * V::splat(weight.scale(row)) * V::splat(INT8_STEP)
    }
}

#[derive(Clone, Copy)]
pub struct Q8_0;

impl Format for Q8_0 {
    const WORDS: usize = 8;

    #[inline(always)]
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
        bytes::<V>(weight, row, depth) * half(weight, row, depth)
    }
}

#[derive(Clone, Copy)]
pub struct Q4_0;

impl Format for Q4_0 {
    const WORDS: usize = 4;

    #[inline(always)]
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
        (codes::<V, 4>(weight, row, depth) - V::splat(8.0)) * half(weight, row, depth)
    }
}

#[derive(Clone, Copy)]
pub struct Q4_1;

impl Format for Q4_1 {
    const WORDS: usize = 4;

    #[inline(always)]
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
        with_minimum::<V, 4>(weight, row, depth)
    }
}

#[derive(Clone, Copy)]
pub struct Q5_0;

impl Format for Q5_0 {
    const WORDS: usize = 5;

    #[inline(always)]
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
        (codes::<V, 5>(weight, row, depth) - V::splat(16.0)) * half(weight, row, depth)
    }
}

#[derive(Clone, Copy)]
pub struct Q5_1;

impl Format for Q5_1 {
    const WORDS: usize = 5;

    #[inline(always)]
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
        with_minimum::<V, 5>(weight, row, depth)
    }
}

#[derive(Clone, Copy)]
pub struct Q4K;

impl Format for Q4K {
    const WORDS: usize = 4;

    #[inline(always)]
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
        with_scaled_minimum::<V, 4>(weight, row, depth)
    }
}

#[derive(Clone, Copy)]
pub struct Q5K;

impl Format for Q5K {
    const WORDS: usize = 5;

    #[inline(always)]
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
        with_scaled_minimum::<V, 5>(weight, row, depth)
    }
}

#[derive(Clone, Copy)]
pub struct Q6K;

impl Format for Q6K {
    const WORDS: usize = 6;

    #[inline(always)]
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
        let first = (row * weight.depth + depth) / 256 * 5;
        let scales: &[u32; 5] = weight.scales[first..].first_chunk().expect("a weight is whole");
        let sixteenth = depth % 256 / 16;
        let scale = (scales[sixteenth / 4] >> (8 * (sixteenth % 4))) as i8;
        let scale = f16_to_f32(scales[4] & 0xffff) * f32::from(scale);
        (codes::<V, 6>(weight, row, depth) - V::splat(32.0)) * V::splat(scale)
    }
}
