//! Double quantisation: the scales of NF4 blocks, themselves quantised to 8 bits.
//!
//! The map is the signed dynamic data type of "8-bit Approximations for Parallelism in Deep Learning"
//! (Dettmers 2015, <https://arxiv.org/abs/1511.04561>) as bitsandbytes makes it.

use std::ops::Range;
use std::sync::LazyLock;

use super::weight::nf4::SMALLEST_ABSMAX;

/// The values of the map above zero, which is code 127; those below it are their negatives, and the last, 1, has none.
pub const DYNAMIC_MAP_UPPER: [f32; 128] = [
    5.500_000_4e-7,
    3.250_000_2e-6,
    7.75e-6,
    2.124_999_8e-5,
    4.375e-5,
    6.625e-5,
    8.875e-5,
    1.562_500_1e-4,
    2.687_500_4e-4,
    3.812_500_2e-4,
    4.937_500_3e-4,
    6.062_501e-4,
    7.187_500_6e-4,
    8.3125e-4,
    9.437_501e-4,
    0.001_281_249_9,
    0.001_843_75,
    0.002_406_25,
    0.002_968_75,
    0.003_531_249_7,
    0.004_093_75,
    0.004_656_249_7,
    0.005_218_750_3,
    0.005_781_25,
    0.006_343_75,
    0.006_906_25,
    0.007_468_75,
    0.008_031_25,
    0.008_593_75,
    0.009_156_249,
    0.009_718_75,
    0.011_406_25,
    0.014_218_75,
    0.017_031_25,
    0.019_843_752,
    0.022_656_25,
    0.025_468_75,
    0.028_281_251,
    0.031_093_75,
    0.033_906_25,
    0.036_718_752,
    0.039_531_25,
    0.042_343_747,
    0.045_156_25,
    0.047_968_75,
    0.050_781_25,
    0.053_593_75,
    0.056_406_25,
    0.059_218_753,
    0.062_031_25,
    0.064_843_75,
    0.067_656_256,
    0.070_468_746,
    0.073_281_25,
    0.076_093_75,
    0.078_906_25,
    0.081_718_76,
    0.084_531_25,
    0.087_343_75,
    0.090_156_25,
    0.092_968_754,
    0.095_781_26,
    0.098_593_75,
    0.107_031_256,
    0.121_093_75,
    0.135_156_24,
    0.149_218_75,
    0.163_281_25,
    0.177_343_76,
    0.191_406_25,
    0.205_468_74,
    0.219_531_25,
    0.233_593_75,
    0.247_656_24,
    0.261_718_75,
    0.275_781_27,
    0.289_843_74,
    0.303_906_26,
    0.317_968_73,
    0.332_031_25,
    0.346_093_74,
    0.360_156_24,
    0.374_218_76,
    0.388_281_23,
    0.402_343_75,
    0.416_406_24,
    0.430_468_74,
    0.444_531_26,
    0.458_593_73,
    0.472_656_25,
    0.486_718_7,
    0.500_781_24,
    0.514_843_7,
    0.528_906_2,
    0.542_968_75,
    0.557_031_3,
    0.571_093_8,
    0.585_156_26,
    0.599_218_7,
    0.613_281_25,
    0.627_343_8,
    0.641_406_3,
    0.655_468_76,
    0.669_531_2,
    0.683_593_75,
    0.697_656_3,
    0.711_718_8,
    0.725_781_26,
    0.739_843_7,
    0.753_906_25,
    0.767_968_8,
    0.782_031_24,
    0.796_093_76,
    0.810_156_2,
    0.824_218_75,
    0.838_281_3,
    0.852_343_74,
    0.866_406_26,
    0.880_468_7,
    0.894_531_25,
    0.908_593_8,
    0.922_656_24,
    0.936_718_76,
    0.950_781_2,
    0.964_843_75,
    0.978_906_3,
    0.992_968_74,
    1.0,
];

/// Scales that share one second-level scale.
pub const NESTED_BLOCK: usize = 256;

/// Doubly quantised scales: `absmax[i] = map[codes[i]] * absmax[i / 256] + offset`.
#[derive(Clone, Debug, PartialEq)]
pub struct NestedAbsmax {
    pub codes: Vec<u8>,
    pub absmax: Vec<f32>,
    /// The mean of the scales.
    pub offset: f32,
}

impl NestedAbsmax {
    /// The scales of some rows, `blocks` each, as [`nested_scales`](crate::kernels::nested_scales) reads them: for each
    /// eight rows the second-level scales of all groups that these may be in, and the codes, four a word. Rows after the
    /// last one are of no scales.
    pub fn rows(&self, blocks: usize, rows: Range<usize>) -> Vec<u32> {
        let mut words = Vec::with_capacity(nested_words(rows.len(), blocks));
        for row in rows.clone().step_by(NESTED_ROWS) {
            let start = row * blocks;
            let codes = &self.codes[start..rows.end.min(row + NESTED_ROWS) * blocks];
            let first = start / NESTED_BLOCK;
            words.extend([(start % NESTED_BLOCK + NESTED_BLOCK * codes.len()) as u32, self.offset.to_bits()]);
            let absmax = |group: usize| self.absmax.get(group).copied().unwrap_or(0.0).to_bits();
            words.extend((first..first + nested_groups(blocks)).map(absmax));
            let end = words.len() + NESTED_ROWS * blocks / 4;
            words.extend(codes.chunks(4).map(|four| {
                let codes = four.iter().zip([0, 8, 16, 24]);
                codes.map(|(&code, shift)| u32::from(code) << shift).sum::<u32>()
            }));
            words.resize(end, 0);
        }
        words
    }
}

/// The rows that [`NestedAbsmax::rows`] packs together.
pub const NESTED_ROWS: usize = 8;

/// The most groups that eight rows of `blocks` scales are in.
pub fn nested_groups(blocks: usize) -> usize {
    (NESTED_ROWS * blocks).div_ceil(NESTED_BLOCK) + 1
}

/// The words of so many rows of `blocks` scales as [`NestedAbsmax::rows`] packs them: those of eight rows are where they
/// begin in their first group and how many of them there are (× 256), the offset, and what it says.
pub fn nested_words(rows: usize, blocks: usize) -> usize {
    rows.div_ceil(NESTED_ROWS) * (2 + nested_groups(blocks) + NESTED_ROWS * blocks / 4)
}

/// Quantises scales to 8 bits and replaces each by what it is then worth, as bitsandbytes does with
/// `bnb_4bit_use_double_quant`.
pub fn double_quantize(absmax: &mut [f32]) -> NestedAbsmax {
    let map = dynamic_map();
    let offset = mean(absmax);
    let mut nested = NestedAbsmax { codes: Vec::with_capacity(absmax.len()), absmax: Vec::new(), offset };
    for block in absmax.chunks(NESTED_BLOCK) {
        let largest = block.iter().fold(0.0_f32, |largest, x| largest.max((x - offset).abs()));
        let scale = 1.0 / largest.max(SMALLEST_ABSMAX);
        nested.absmax.push(largest);
        nested.codes.extend(block.iter().map(|x| nearest(map, (x - offset) * scale)));
    }
    absmax.copy_from_slice(&dequantize_absmax(&nested, map));
    nested
}

/// The scales that doubly quantised ones stand for, with the map they were made with.
pub fn dequantize_absmax(nested: &NestedAbsmax, map: &[f32; 256]) -> Vec<f32> {
    let value =
        |(i, &code): (usize, &u8)| map[usize::from(code)] * nested.absmax[i / NESTED_BLOCK] + nested.offset;
    nested.codes.iter().enumerate().map(value).collect()
}

/// The 256 values of the 8-bit code in rising order: `bitsandbytes.functional.create_dynamic_map()`.
pub fn dynamic_map() -> &'static [f32; 256] {
    static MAP: LazyLock<[f32; 256]> = LazyLock::new(|| {
        let upper = |i: usize| DYNAMIC_MAP_UPPER[i];
        std::array::from_fn(|code| match code {
            127 => 0.0,
            128.. => upper(code - 128),
            _ => -upper(126 - code),
        })
    });
    &MAP
}

/// The code whose value is nearest to `x` in [-1, 1], found as bitsandbytes' CUDA kernel finds it, so
/// that a value halfway between two codes goes the same way.
fn nearest(map: &[f32; 256], x: f32) -> u8 {
    let (mut lower, mut pivot, mut upper) = (0, 127, 255);
    for step in [64, 32, 16, 8, 4, 2, 1] {
        if x > map[pivot] {
            lower = pivot;
            pivot += step;
        } else {
            upper = pivot;
            pivot -= step;
        }
    }
    let code = if x > map[pivot] {
        if x > (map[upper] + map[pivot]) * 0.5 { upper } else { pivot }
    } else if x < (map[lower] + map[pivot]) * 0.5 {
        lower
    } else {
        pivot
    };
    code as u8
}

/// The mean in PyTorch's order of summation. Another order would move the offset, and so every scale,
/// by a unit in the last place.
fn mean(values: &[f32]) -> f32 {
    const LANES: usize = 8;
    let sum = if values.len() < LANES {
        row_sum(values.as_chunks::<1>().0)[0]
    } else {
        let (vectors, rest) = values.as_chunks::<LANES>();
        let lanes = row_sum(vectors);
        rest.iter().chain(&lanes).fold(0.0, |sum, x| sum + x)
    };
    sum / values.len() as f32
}

/// Sums vectors of `N` lanes in four interleaved chains.
fn row_sum<const N: usize>(vectors: &[[f32; N]]) -> [f32; N] {
    let (rows, rest) = vectors.as_chunks::<4>();
    let [mut sum, second, third, fourth] = cascade_sum(rows);
    for vector in rest.iter().chain([&second, &third, &fourth]) {
        add(&mut sum, vector);
    }
    sum
}

/// PyTorch's `multi_row_sum` (aten/src/ATen/native/cpu/SumKernel.cpp): four levels of partial sums,
/// each carried to the next after as many rows as keep rounding errors small.
fn cascade_sum<const N: usize>(rows: &[[[f32; N]; 4]]) -> [[f32; N]; 4] {
    const LEVELS: usize = 4;
    let log2 = rows.len().next_power_of_two().trailing_zeros() as usize;
    let level_power = (log2 / LEVELS).max(4);
    let mut levels = [[[0.0; N]; 4]; LEVELS];
    for (i, row) in rows.iter().enumerate() {
        add_row(&mut levels[0], row);
        let done = i + 1;
        for level in 1..LEVELS {
            if done % (1 << (level * level_power)) != 0 {
                break;
            }
            let carried = std::mem::replace(&mut levels[level - 1], [[0.0; N]; 4]);
            add_row(&mut levels[level], &carried);
        }
    }
    let [mut sum, second, third, fourth] = levels;
    for level in [second, third, fourth] {
        add_row(&mut sum, &level);
    }
    sum
}

fn add_row<const N: usize>(sum: &mut [[f32; N]; 4], row: &[[f32; N]; 4]) {
    for (sum, vector) in sum.iter_mut().zip(row) {
        add(sum, vector);
    }
}

fn add<const N: usize>(sum: &mut [f32; N], vector: &[f32; N]) {
    for (sum, x) in sum.iter_mut().zip(vector) {
        *sum += x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `torch.linspace(0.1, 1, steps + 1)[k]`, which counts from the nearer end with one rounding.
    fn tenth_to_one(k: i32, steps: i32) -> f32 {
        let step = f64::from((1.0 - 0.1_f32) / steps as f32);
        if k < (steps + 1) / 2 {
            (step * f64::from(k) + f64::from(0.1_f32)) as f32
        } else {
            (1.0 - step * f64::from(steps - k)) as f32
        }
    }

    /// `bitsandbytes.functional.create_dynamic_map()`.
    #[test]
    fn the_map_is_that_of_bitsandbytes() {
        let mut map = vec![0.0, 1.0];
        for exponent in 0..7 {
            let steps = 1 << exponent;
            let power = 10_f64.powi(exponent - 6) as f32;
            for k in 0..steps {
                let value = power * ((tenth_to_one(k, steps) + tenth_to_one(k + 1, steps)) / 2.0);
                map.extend([value, -value]);
            }
        }
        map.sort_by(f32::total_cmp);
        assert_eq!(map, dynamic_map());
    }

    /// Four bits of codes, and all that tells their scales: the linear layers of Llama 2 7B.
    #[test]
    fn a_weight_takes_4_13_bits() {
        let layers = [(4 * 4096 + 2 * 11008, 4096), (4096, 11008)];
        let weights: usize = layers.iter().map(|(rows, depth)| rows * depth).sum();
        let words: usize = layers.iter().map(|&(rows, depth)| nested_words(rows, depth / 64)).sum();
        let bits = 4.0 + (32 * words) as f64 / weights as f64;
        assert!((4.125..4.13).contains(&bits), "{bits}");
    }
}
