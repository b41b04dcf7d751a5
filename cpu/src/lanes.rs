//! Loops over values, eight at a time. Past the end of values lie zeros.
//!
//! A loop calls its function at one place, so that the compiler inlines it.

use core::ops::Range;

use crate::simd::Vector;

/// The work of a task, in values that each take a nanosecond or less.
pub const TASK: usize = 8192;

/// The columns that a task adds up.
pub const COLUMNS: u32 = 64;

/// The rows of `width` values that make a task.
pub fn rows_together(width: u32) -> u32 {
    (TASK as u32 / width.max(1)).max(1)
}

/// What part `task` has of `len` items, `each` to a task.
pub fn part(task: u32, each: u32, len: u32) -> Range<usize> {
    let start = task * each;
    start as usize..len.min(start.saturating_add(each)) as usize
}

#[cold]
fn tail(values: &[f32], at: usize) -> [f32; 8] {
    let mut lanes = [0.0; 8];
    for (lane, value) in lanes.iter_mut().zip(values.get(at..).unwrap_or_default()) {
        *lane = *value;
    }
    lanes
}

#[cold]
fn put_tail(lanes: [f32; 8], values: &mut [f32], at: usize) {
    for (value, lane) in values[at..].iter_mut().zip(lanes) {
        *value = lane;
    }
}

/// Eight values from `at` on.
#[inline(always)]
pub fn load<V: Vector>(values: &[f32], at: usize) -> V {
    match values.get(at..).and_then(<[f32]>::first_chunk) {
        Some(eight) => V::of(eight),
        None => V::of(&tail(values, at)),
    }
}

/// Writes to the values from `at` on, up to eight.
#[inline(always)]
pub fn store<V: Vector>(lanes: V, values: &mut [f32], at: usize) {
    match values.get_mut(at..).and_then(<[f32]>::first_chunk_mut) {
        Some(eight) => lanes.put(eight),
        None => put_tail(lanes.to_array(), values, at),
    }
}

#[inline(always)]
fn load_all<V: Vector, const N: usize>(values: &[&[f32]; N], at: usize) -> [V; N] {
    let mut lanes = [V::zero(); N];
    for (lanes, values) in lanes.iter_mut().zip(values) {
        *lanes = load(values, at);
    }
    lanes
}

/// Cuts all to `len` values, so that the compiler sees that they are equally long.
#[inline(always)]
fn cut<const N: usize>(mut inputs: [&[f32]; N], len: usize) -> [&[f32]; N] {
    for input in &mut inputs {
        *input = &input[..len];
    }
    inputs
}

/// `out` = f(`inputs`), value by value.
#[inline(always)]
pub fn map<V: Vector, const N: usize>(inputs: [&[f32]; N], out: &mut [f32], f: impl Fn([V; N]) -> V) {
    let inputs = cut(inputs, out.len());
    let mut at = 0;
    while at < out.len() {
        store(f(load_all(&inputs, at)), out, at);
        at += 8;
    }
}

/// `values` = f(`values`, `inputs`), value by value.
#[inline(always)]
pub fn update<V: Vector, const M: usize, const N: usize>(
    mut values: [&mut [f32]; M],
    inputs: [&[f32]; N],
    f: impl Fn([V; M], [V; N]) -> [V; M],
) {
    let len = values[0].len();
    let inputs = cut(inputs, len);
    for values in &mut values {
        *values = &mut core::mem::take(values)[..len];
    }
    let mut at = 0;
    while at < len {
        let mut lanes = [V::zero(); M];
        for (lanes, values) in lanes.iter_mut().zip(&values) {
            *lanes = load(values, at);
        }
        let lanes = f(lanes, load_all(&inputs, at));
        for (lanes, values) in lanes.into_iter().zip(&mut values) {
            store(lanes, values, at);
        }
        at += 8;
    }
}

/// The sum of what `add` adds for each eight of the inputs, in four sums so that none is long. Zeros add nothing.
#[inline(always)]
pub fn sum<V: Vector, const N: usize>(inputs: [&[f32]; N], add: impl Fn(V, [V; N]) -> V) -> f32 {
    let len = inputs[0].len();
    let inputs = cut(inputs, len);
    let mut sums = [V::zero(); 4];
    let mut at = 0;
    while at < len {
        for (j, sum) in sums.iter_mut().enumerate() {
            *sum = add(*sum, load_all(&inputs, at + 8 * j));
        }
        at += 32;
    }
    ((sums[0] + sums[1]) + (sums[2] + sums[3])).sum()
}

/// The natural logarithm of a number that is at least the least normal one, rounded from f64: the same everywhere.
pub fn ln(x: f32) -> f32 {
    if x.is_nan() || x == f32::INFINITY {
        return x;
    }
    let bits = x.to_bits();
    // Mantissas from √½ to √2, for which the series of 2·artanh((m − 1) / (m + 1)) is short.
    let exponent = (bits.wrapping_sub(0x3f35_04f3) as i32) >> 23;
    let mantissa = f64::from(f32::from_bits(bits.wrapping_sub((exponent << 23) as u32)));
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut series = 0.0;
    for odd in [15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        series = series * square + 1.0 / odd;
    }
    (f64::from(exponent) * core::f64::consts::LN_2 + 2.0 * s * series) as f32
}

/// eˣ, rounded from f64: the same everywhere. Zero where it would be subnormal.
pub fn exp(x: f32) -> f32 {
    if x.is_nan() || x > 88.722_84 {
        return if x.is_nan() { x } else { f32::INFINITY };
    }
    if x < -87.336_54 {
        return 0.0;
    }
    let turns = f64::from(x) * core::f64::consts::LOG2_E;
    let whole = (turns + if turns < 0.0 { -0.5 } else { 0.5 }) as i32;
    let rest = (turns - f64::from(whole)) * core::f64::consts::LN_2;
    let mut series = 1.0;
    for n in (1..=11u8).rev() {
        series = 1.0 + series * rest / f64::from(n);
    }
    (series * f64::from_bits(((1023 + whole) as u64) << 52)) as f32
}

#[cfg(test)]
mod tests {
    use super::{exp, ln};

    #[test]
    fn exponentials_are_rounded_once() {
        for i in -87_300..88_700 {
            let x = (f64::from(i) / 1000.0) as f32;
            let want = f64::from(x).exp();
            let error = (f64::from(exp(x)) - want).abs();
            assert!(error <= 0.501 * f64::from(f32::EPSILON) * want, "exp({x}) is {}", exp(x));
        }
        assert_eq!((exp(0.0), exp(-1000.0), exp(1000.0)), (1.0, 0.0, f32::INFINITY));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn logarithms_are_rounded_once() {
        for i in 0..200_000u32 {
            let x = f32::from_bits(0x0080_0000 + i * 10_619);
            let want = f64::from(x).ln();
            let error = (f64::from(ln(x)) - want).abs();
            assert!(error <= 0.501 * f64::from(f32::EPSILON) * want.abs().max(1e-30), "ln({x}) is {}", ln(x));
        }
        assert_eq!((ln(1.0), ln(f32::INFINITY)), (0.0, f32::INFINITY));
        assert!(ln(f32::NAN).is_nan());
    }
}
