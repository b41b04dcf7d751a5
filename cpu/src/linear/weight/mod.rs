//! Matrices in blocks: dense ones, and frozen weights [N, K] as they are stored.

mod blocks;
mod codes;

use core::marker::PhantomData;

pub use blocks::{Int8, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
pub use codes::{Fp4, Fp4Any, Nf4, Nf4Any};

use super::gemm::Blocks;
use crate::args::Args;
use crate::params::linear::Params;
use crate::simd::{Plain, Vector, eight};

/// f32 rows of `stride` from `offset` on. Its rows are the outer dimension of a product or the inner one.
#[derive(Clone, Copy)]
pub struct Dense<'a, const OUTER_MAJOR: bool> {
    pub values: &'a [f32],
    pub offset: usize,
    pub stride: usize,
    pub rows: usize,
}

impl<const OUTER_MAJOR: bool> Blocks for Dense<'_, OUTER_MAJOR> {
    const OUTER_MAJOR: bool = OUTER_MAJOR;

    #[inline(always)]
    fn block<V: Vector>(&self, outer: usize, inner: usize) -> [V; 8] {
        let (row, col) = if OUTER_MAJOR { (outer, inner) } else { (inner, outer) };
        let start = self.offset + row * self.stride + col;
        if row + 8 <= self.rows {
            let values = &self.values[start..start + 7 * self.stride + 8];
            // SAFETY: The last row's eight values are within the slice.
            return eight!(|i| unsafe { V::load(values.as_ptr().add(i * self.stride)) });
        }
        eight!(|i| match self.values[(start + i * self.stride).min(self.values.len())..].first_chunk() {
            Some(eight) if row + i < self.rows => V::of(eight),
            _ => V::zero(),
        })
    }
}

/// A stored format.
pub trait Format: Copy {
    /// 4-byte words of 32 values.
    const WORDS: usize;

    /// The eight values from `depth` on, a multiple of 8, of a row.
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V;

    /// The products of a row's values with those of `x`, value i's in lane i % 8.
    #[inline(always)]
    fn products<V: Vector>(weight: &Weight, row: usize, x: &[f32]) -> V {
        // Four sums, so that a product need not wait for the one before it.
        let mut sums = [V::zero(); 4];
        let (blocks, rest) = x.as_chunks::<32>();
        for (i, x) in blocks.iter().enumerate() {
            for (j, x) in x.as_chunks::<8>().0.iter().enumerate() {
                sums[j] = Self::eight::<V>(weight, row, 32 * i + 8 * j).mul_add(V::of(x), sums[j]);
            }
        }
        for (j, x) in rest.as_chunks::<8>().0.iter().enumerate() {
            sums[j] = Self::eight::<V>(weight, row, 32 * blocks.len() + 8 * j).mul_add(V::of(x), sums[j]);
        }
        (sums[0] + sums[2]) + (sums[1] + sums[3])
    }
}

/// Writes the eight values of a row from a depth on.
pub type Eight = fn(&Weight, usize, usize, &mut [f32; 8]);

/// A format by a function of its own: those that are not hot share one product, which would be as large for each.
#[derive(Clone, Copy)]
pub struct ByFunction;

impl Format for ByFunction {
    const WORDS: usize = 0;

    #[inline(always)]
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
        let mut values = [0.0; 8];
        (weight.eight)(weight, row, depth, &mut values);
        V::of(&values)
    }
}

/// The function of a format. Its values are exact, or rounded alike by both flavours of SIMD, so the plain one serves.
pub fn eight_of<F: Format>(weight: &Weight, row: usize, depth: usize, values: &mut [f32; 8]) {
    F::eight::<Plain>(weight, row, depth).put(values);
}

/// The operands of a weight.
#[derive(Clone, Copy)]
pub struct Weight<'a> {
    eight: Eight,
    words: &'a [u32],
    scales: &'a [u32],
    /// K rounded up to a multiple of 8.
    depth: usize,
    true_depth: usize,
}

impl<'a> Weight<'a> {
    /// The weight whose values are operand `index`, with the scales behind it.
    #[inline(always)]
    pub fn of<F: Format>(args: &Args<'a>, params: &Params, index: usize) -> Self {
        Self::by::<F>(args, params, index, eight_of::<F>)
    }

    /// The same, for [`ByFunction`] with the function of the format.
    #[inline(always)]
    pub fn by<F: Format>(args: &Args<'a>, params: &Params, index: usize, eight: Eight) -> Self {
        let words = args.words(index);
        let sizes = [params.cols, params.depth, params.true_depth];
        Weight { eight, ..Self::new::<F>(words, args.words(index + 1), sizes) }
    }

    /// The weight [`rows`, `depth`] of these operands; `depth` without padding is `true_depth`.
    #[inline(always)]
    pub fn new<F: Format>(words: &'a [u32], scales: &'a [u32], sizes: [u32; 3]) -> Self {
        let [rows, depth, true_depth] = sizes.map(|size| size as usize);
        assert!(depth.is_multiple_of(8) && words.len() >= rows * depth * F::WORDS / 32);
        Weight { eight: eight_of::<F>, words, scales, depth, true_depth }
    }

    /// f32 rows of `depth` values, a multiple of 8.
    #[inline(always)]
    pub fn dense(values: &'a [f32], depth: usize) -> Self {
        // SAFETY: f32 and u32 are as long and take all bits.
        let words = unsafe { core::slice::from_raw_parts(values.as_ptr().cast(), values.len()) };
        Weight { eight: eight_of::<F32>, words, scales: words, depth, true_depth: depth }
    }

    #[inline(always)]
    fn words<const WORDS: usize>(&self, row: usize, depth: usize) -> &'a [u32; WORDS] {
        let eight = (row * self.depth + depth) / 8;
        self.words[eight * WORDS..].first_chunk().expect("a weight is whole")
    }

    /// The scale of a block. Padding past the last value may lie past the last block; its values are zero.
    #[inline(always)]
    fn scale(&self, block: usize) -> f32 {
        f32::from_bits(self.scales[block.min(self.scales.len() - 1)])
    }
}

/// A frozen weight as an operand of a product: its rows are the outer dimension, or in backward the inner one.
#[derive(Clone, Copy)]
pub struct Stored<'a, F, const OUTER_MAJOR: bool> {
    pub weight: Weight<'a>,
    pub format: PhantomData<F>,
}

impl<F: Format, const OUTER_MAJOR: bool> Blocks for Stored<'_, F, OUTER_MAJOR> {
    const OUTER_MAJOR: bool = OUTER_MAJOR;

    #[inline(always)]
    fn block<V: Vector>(&self, outer: usize, inner: usize) -> [V; 8] {
        let (row, depth) = if OUTER_MAJOR { (outer, inner) } else { (inner, outer) };
        eight!(|i| F::eight::<V>(&self.weight, row + i, depth))
    }
}

#[derive(Clone, Copy)]
pub struct F32;

impl Format for F32 {
    const WORDS: usize = 32;

    #[inline(always)]
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
        let words = weight.words::<8>(row, depth);
        // SAFETY: There are eight words, and f32 takes all bits.
        unsafe { V::load(words.as_ptr().cast()) }
    }
}

#[derive(Clone, Copy)]
pub struct F16;

impl Format for F16 {
    const WORDS: usize = 16;

    #[inline(always)]
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
        V::from_f16(*weight.words(row, depth))
    }
}

#[derive(Clone, Copy)]
pub struct Bf16;

impl Format for Bf16 {
    const WORDS: usize = 16;

    #[inline(always)]
    fn eight<V: Vector>(weight: &Weight, row: usize, depth: usize) -> V {
        V::from_bf16(*weight.words(row, depth))
    }
}
