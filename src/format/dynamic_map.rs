//! Double quantisation: the scales of NF4 blocks, themselves quantised to 8 bits.
//!
//! The map is the signed dynamic data type of "8-bit Approximations for Parallelism in Deep Learning"
//! (Dettmers 2015, <https://arxiv.org/abs/1511.04561>) as bitsandbytes makes it.

use std::sync::LazyLock;

use super::weight::nf4::SMALLEST_ABSMAX;

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
        let mut map = [0.0; 256];
        let mut filled = 0;
        for exponent in 0..7 {
            let steps = 1 << exponent;
            let power = 10_f64.powi(exponent - 6) as f32;
            for k in 0..steps {
                let value = power * ((tenth_to_one(k, steps) + tenth_to_one(k + 1, steps)) / 2.0);
                map[filled..filled + 2].copy_from_slice(&[value, -value]);
                filled += 2;
            }
        }
        map[filled..].copy_from_slice(&[0.0, 1.0]);
        map.sort_by(f32::total_cmp);
        map
    });
    &MAP
}

/// `torch.linspace(0.1, 1, steps + 1)[k]`, which counts from the nearer end with one rounding.
fn tenth_to_one(k: i32, steps: i32) -> f32 {
    let step = f64::from((1.0 - 0.1_f32) / steps as f32);
    if k < (steps + 1) / 2 {
        (step * f64::from(k) + f64::from(0.1_f32)) as f32
    } else {
        (1.0 - step * f64::from(steps - k)) as f32
    }
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
