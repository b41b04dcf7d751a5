//! Codes of four bits with an f32 scale for each 64: NF4, and FP4 of bitsandbytes.

use super::{Format, Weight};
use crate::params::{FP4_CODES, NF4_BLOCK};
use crate::simd::{Vector, eight};

/// NF4 whose rows hold whole blocks.
#[derive(Clone, Copy)]
pub struct Nf4;

impl Format for Nf4 {
    const WORDS: usize = 4;

    #[inline(always)]
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
        let &[word] = weight.words(row, depth);
        V::from_nf4(word) * scale_of_block(weight, row, depth)
    }

    /// The scale multiplies the sum of a block.
    #[inline(always)]
    fn products<V: Vector>(weight: &Weight, row: usize, x: &[f32]) -> V {
        let blocks = weight.depth / NF4_BLOCK;
        let words = weight.words[row * weight.depth / 8..][..weight.depth / 8].as_chunks::<8>().0;
        let scales = &weight.scales[row * blocks..][..blocks];
        let mut sum = V::zero();
        for ((words, scale), x) in words.iter().zip(scales).zip(x.as_chunks::<NF4_BLOCK>().0) {
            let mut sums = [V::zero(); 2];
            for (words, x) in words.as_chunks::<2>().0.iter().zip(x.as_chunks::<16>().0) {
                let [first, second] = V::from_nf4_pair(*words);
                let (x, _) = x.as_chunks::<8>();
                sums[0] = first.mul_add(V::of(&x[0]), sums[0]);
                sums[1] = second.mul_add(V::of(&x[1]), sums[1]);
            }
            sum = (sums[0] + sums[1]).mul_add(V::splat(f32::from_bits(*scale)), sum);
        }
        sum
    }
}

/// NF4 whose blocks run on from row to row, so that eight values may lie in two blocks.
#[derive(Clone, Copy)]
pub struct Nf4Any;

impl Format for Nf4Any {
    const WORDS: usize = 4;

    #[inline(always)]
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
        let &[word] = weight.words(row, depth);
        V::from_nf4(word) * scales_of_two_blocks(weight, row, depth)
    }
}

/// FP4 whose rows hold whole blocks.
#[derive(Clone, Copy)]
pub struct Fp4;

impl Format for Fp4 {
    const WORDS: usize = 4;

    #[inline(always)]
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
        let &[word] = weight.words(row, depth);
        fp4::<V>(word) * scale_of_block(weight, row, depth)
    }
}

/// FP4 whose blocks run on from row to row.
#[derive(Clone, Copy)]
pub struct Fp4Any;

impl Format for Fp4Any {
    const WORDS: usize = 4;

    #[inline(always)]
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
        let &[word] = weight.words(row, depth);
        fp4::<V>(word) * scales_of_two_blocks(weight, row, depth)
    }
}

#[inline(always)]
fn fp4<V: Vector>(word: u32) -> V {
    V::of(&eight!(|i| FP4_CODES[(word >> (8 * (i / 2) + 4 * (1 - i % 2)) & 15) as usize]))
}

/// The scale of eight values that lie in one block.
#[inline(always)]
fn scale_of_block<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
    V::splat(weight.scale((row * weight.depth + depth) / NF4_BLOCK))
}

/// The scale of each of eight values that may lie in two blocks.
#[inline(always)]
fn scales_of_two_blocks<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
    let first = row * weight.true_depth + depth;
    let (block, next) = (first / NF4_BLOCK, (first + 7) / NF4_BLOCK);
    let left = (NF4_BLOCK - first % NF4_BLOCK) as f32;
    let in_block = V::of(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]).less(V::splat(left));
    V::select(in_block, V::splat(weight.scale(block)), V::splat(weight.scale(next)))
}
