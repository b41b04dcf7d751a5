//! Steps along random directions (MeZO); `shaders/mezo_*.wgsl` have their equations.

use core::ops::Range;

use crate::args::Args;
use crate::lanes::{TASK, part, sum};
use crate::params::mezo::{
    FinishParams, LossesParams, MissesParams, OF_SAMPLE, PerturbParams, Place, STATS, STATS_FINITE,
    STATS_SAMPLES, UpdateParams,
};
use crate::random::pcg4d;
use crate::simd::Vector;
use crate::table::Kernel;

/// Words of a [`Place`].
const PLACE: usize = 8;
/// Fours whose values are made together.
const TOGETHER: u32 = 8;

fn place(words: &[u32], index: usize) -> Place {
    let [first, end, stride, cols, counter, stream, ..] = words.as_chunks::<PLACE>().0[index];
    Place { first, end, stride, cols, counter, stream, pads: [0; 2] }
}

/// ln((bits + 1) · 2⁻²⁴) of eight times 24 bits, within 1.5 units of the last place.
#[inline(always)]
fn logarithm<V: Vector>(bits: [u32; 8]) -> V {
    let (mut exponents, mut mantissas) = ([0.0; 8], [0.0; 8]);
    for i in 0..8 {
        let number = ((bits[i] + 1) as f32).to_bits();
        // Mantissas from √½ to √2, for which the series of 2·artanh((m − 1) / (m + 1)) is short.
        let exponent = (number - 0x3f35_04f3) >> 23;
        mantissas[i] = f32::from_bits(number - (exponent << 23));
        exponents[i] = exponent as f32 - 24.0;
    }
    let (mantissa, one) = (V::of(&mantissas), V::splat(1.0));
    let s = (mantissa - one) / (mantissa + one);
    let square = s * s;
    let mut series = V::splat(0.222_222_22);
    for factor in [0.285_714_3, 0.4, 0.666_666_7, 2.0] {
        series = series.mul_add(square, V::splat(factor));
    }
    V::of(&exponents).mul_add(V::splat(core::f32::consts::LN_2), s * series)
}

/// Cosine and sine of a whole turn's share that the bits are of 2³².
#[inline(always)]
fn on_circle<V: Vector>(bits: [u32; 8]) -> [V; 2] {
    let (mut shares, mut quarter, mut half) = ([0.0; 8], [0.0; 8], [0.0; 8]);
    for i in 0..8 {
        shares[i] = ((bits[i] >> 6) & 0xff_ffff) as f32;
        quarter[i] = f32::from(bits[i] & 0x4000_0000 != 0);
        half[i] = if bits[i] & 0x8000_0000 != 0 { -1.0 } else { 1.0 };
    }
    // Of an eighth turn to either side, then turned by quarters.
    let angle =
        (V::of(&shares) * V::splat(5.960_464_5e-8) - V::splat(0.5)) * V::splat(core::f32::consts::FRAC_PI_2);
    let square = angle * angle;
    let polynomial = |factors: [f32; 4]| {
        let [highest, lower @ ..] = factors;
        let add = |sum: V, factor| sum.mul_add(square, V::splat(factor));
        lower.into_iter().fold(V::splat(highest), add)
    };
    let sine = polynomial([2.755_731_9e-6, -1.984_127e-4, 8.333_333e-3, -0.166_666_67]);
    let sine = (angle * square).mul_add(sine, angle);
    let cosine = polynomial([2.480_158_7e-5, -1.388_888_9e-3, 4.166_666_7e-2, -0.5]);
    let cosine = cosine.mul_add(square, V::splat(1.0));
    let (is_turned, sign) = (V::zero().less(V::of(&quarter)), V::of(&half));
    [V::select(is_turned, V::zero() - sine, cosine) * sign, V::select(is_turned, cosine, sine) * sign]
}

/// The values of eight fours from `counter` on.
#[inline(always)]
fn normal<V: Vector>(counter: u32, stream: u32, seed: u32, sample: u32) -> [f32; 4 * TOGETHER as usize] {
    let mut random = [[0; 8]; 4];
    for i in 0..8 {
        let four = pcg4d([counter.wrapping_add(i as u32), stream, seed, 1 + sample]);
        for (of_lane, number) in random.iter_mut().zip(four) {
            of_lane[i] = number;
        }
    }
    let mut values = [0.0; 4 * TOGETHER as usize];
    for pair in 0..2 {
        let radius = (logarithm::<V>(random[2 * pair].map(|bits| bits >> 8)) * V::splat(-2.0)).sqrt();
        for (lane, of_circle) in on_circle::<V>(random[2 * pair + 1]).into_iter().enumerate() {
            let of_lane = (radius * of_circle).to_array();
            for (i, value) in of_lane.into_iter().enumerate() {
                values[4 * i + 2 * pair + lane] = value;
            }
        }
    }
    values
}

/// A direction of a step.
#[derive(Clone, Copy)]
struct Direction {
    seed: u32,
    sample: u32,
}

/// Adds `scale` times a direction to `out`, which are the elements `own` of the buffer. `own` begins at a multiple of 4.
#[inline(always)]
fn add<V: Vector>(places: &[u32], of: Direction, own: Range<usize>, scale: f32, out: &mut [f32]) {
    for index in 0..places.len() / PLACE {
        let Place { first, end, stride, cols, counter, stream, .. } = place(places, index);
        let (start, end) = ((first as usize).max(own.start), (end as usize).min(own.end));
        let mut at = start;
        while at < end {
            let [row, col] =
                [(at - first as usize) / stride as usize, (at - first as usize) % stride as usize];
            let row_end = (at - col + stride as usize).min(end);
            let real_end = (at - col + cols as usize).min(end);
            let mut four = counter + row as u32 * cols.div_ceil(4) + col as u32 / 4;
            while at < real_end {
                let values = normal::<V>(four, stream, of.seed, of.sample);
                let len = values.len().min(real_end - at);
                for (value, z) in out[at - own.start..][..len].iter_mut().zip(values) {
                    *value += scale * z;
                }
                (at, four) = (at + len, four + TOGETHER);
            }
            at = row_end;
        }
    }
}

/// Operands: places, `Shift`, param [n], out [n].
pub struct Perturb;

impl Kernel for Perturb {
    fn tasks(args: &Args) -> u32 {
        args.params::<PerturbParams>().n.div_ceil(TASK as u32)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: PerturbParams = args.params();
        let own = part(task, TASK as u32, params.n);
        // SAFETY: Parts of tasks are disjoint.
        let out = unsafe { args.output(3).slice(own.clone()) };
        out.copy_from_slice(&args.input(2)[own.clone()]);
        let [seed, sample, scale] = [0, 1, 2].map(|field| args.words(1)[field]);
        let scale = f32::from_bits(scale);
        if scale == 0.0 {
            return;
        }
        let places = &args.words(0)[params.first_place as usize * PLACE..params.end_place as usize * PLACE];
        let first = params.first as usize;
        add::<V>(places, Direction { seed, sample }, first + own.start..first + own.end, scale, out);
    }
}

/// Operands: weight [n], plus [n], minus [n], sums [samples, 4].
pub struct Losses;

impl Kernel for Losses {
    fn tasks(_: &Args) -> u32 {
        1
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, _: u32, _: &mut [f32]) {
        let params: LossesParams = args.params();
        let [weight, plus, minus] = [0, 1, 2].map(|operand| &args.input(operand)[..params.n as usize]);
        let first = params.sample as usize * OF_SAMPLE;
        // SAFETY: There is one task.
        let sums = unsafe { args.output(3).slice(first..first + OF_SAMPLE) };
        let of = |losses| sum([weight, losses], |sum: V, [weight, loss]: [V; 2]| weight.mul_add(loss, sum));
        let difference = |sum: V, [weight, plus, minus]: [V; 3]| weight.mul_add(plus - minus, sum);
        sums[0] += of(plus);
        sums[1] += of(minus);
        sums[2] += sum([weight, plus, minus], difference);
    }
}

/// Operands: starts [n], miss [n], out [n].
pub struct Misses;

impl Kernel for Misses {
    fn tasks(_: &Args) -> u32 {
        1
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, _: u32, _: &mut [f32]) {
        let n = args.params::<MissesParams>().n as usize;
        let (starts, miss) = (args.words(0), args.input(1));
        // SAFETY: There is one task.
        let out = unsafe { args.output(2).slice(0..n) };
        for (i, out) in out.iter_mut().enumerate() {
            let of_text = miss.get(starts[i] as usize..=i).unwrap_or_default();
            let sum: f32 = of_text.iter().sum();
            *out = if sum > 1.0 { 1.0 } else { sum };
        }
    }
}

/// Operands: sums [samples, 4], stats.
pub struct Finish;

impl Kernel for Finish {
    fn tasks(_: &Args) -> u32 {
        1
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, _: u32, _: &mut [f32]) {
        let params: FinishParams = args.params();
        // SAFETY: There is one task.
        let stats = unsafe { args.output(1).slice(0..STATS) };
        let sums = args.input(0).as_chunks::<OF_SAMPLE>().0;
        let (first, of_samples) = stats.split_at_mut(STATS_SAMPLES);
        let mut is_finite = true;
        let of_samples = of_samples.as_chunks_mut::<OF_SAMPLE>().0.iter_mut().zip(sums);
        for (stats, [plus, minus, difference, _]) in of_samples.take(params.samples as usize) {
            *stats = [*plus, *minus, difference / params.distance, 0.0];
            is_finite &= stats.iter().all(|value| value.is_finite());
        }
        first[STATS_FINITE] = f32::from(is_finite);
    }
}

/// Operands: places, `Hyper`, stats, param [n].
pub struct Update;

impl Kernel for Update {
    fn tasks(args: &Args) -> u32 {
        args.params::<UpdateParams>().n.div_ceil(TASK as u32)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, scratch: &mut [f32]) {
        let stats = args.input(2);
        if stats[STATS_FINITE] != 1.0 {
            return;
        }
        let params: UpdateParams = args.params();
        let own = part(task, TASK as u32, params.n);
        let places = &args.words(0)[..params.places as usize * PLACE];
        let [decay, rate] = [0, 1].map(|field| args.input(1)[field]);
        let seed = args.words(1)[2];
        let step = &mut scratch[..own.len()];
        step.fill(0.0);
        for sample in 0..params.samples {
            let slope = stats[STATS_SAMPLES + OF_SAMPLE * sample as usize + 2];
            add::<V>(places, Direction { seed, sample }, own.clone(), rate * slope, step);
        }
        let decay = if params.decays == 1 { decay } else { 1.0 };
        // SAFETY: Parts of tasks are disjoint.
        let param = unsafe { args.output(3).slice(own) };
        for (param, step) in param.iter_mut().zip(step) {
            *param = *param * decay - *step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::mezo::Hyper;
    use crate::testing::{assert_close, from_words, random, run};

    /// Two matrices, the second of a part of its rows, with padding in and between them.
    fn places() -> Vec<f32> {
        let of = |first, rows: u32, stride, cols, counter, stream| {
            [first, first + rows * stride, stride, cols, counter, stream, 0, 0]
        };
        from_words(&[of(0, 40, 104, 99, 0, 7), of(4224, 50, 96, 96, 3 * 24, 8)].concat())
    }

    const N: usize = 9100;

    /// The direction in f64: of each element.
    fn direction(seed: u32, sample: u32) -> Vec<f64> {
        let mut z = vec![0.0; N];
        let words = places();
        let words: Vec<u32> = words.iter().map(|word| word.to_bits()).collect();
        for index in 0..2 {
            let Place { first, end, stride, cols, counter, stream, .. } = place(&words, index);
            for at in first..end.min(N as u32) {
                let [row, col] = [(at - first) / stride, (at - first) % stride];
                if col >= cols {
                    continue;
                }
                let four = pcg4d([counter + row * cols.div_ceil(4) + col / 4, stream, seed, 1 + sample]);
                let [bits, turn] = if col % 4 < 2 { [four[0], four[1]] } else { [four[2], four[3]] };
                let radius = (-2.0 * ((f64::from(bits >> 8) + 1.0) / 16_777_216.0).ln()).sqrt();
                let angle = (f64::from(turn >> 6) / 67_108_864.0 - 0.125) * core::f64::consts::TAU;
                z[at as usize] = radius * if col % 2 == 0 { angle.cos() } else { angle.sin() };
            }
        }
        z
    }

    fn hyper(seed: u32) -> Vec<f32> {
        let Hyper { decay, rate, .. } = Hyper { decay: 0.75, rate: 0.5, seed, pad: 0 };
        vec![decay, rate, f32::from_bits(seed), 0.0]
    }

    #[test]
    fn parameters_move_along_the_direction() {
        // All of the buffer; what the second matrix is among; the end of the first one.
        for (first, n, [first_place, end_place]) in
            [(0, N, [0, 2]), (4196, N - 4196, [1, 2]), (1000, 3000, [0, 1])]
        {
            for (seed, sample, scale) in [(1, 0, 0.5), (u32::MAX, 3, -2.0), (1, 0, 0.0)] {
                let param = random(1, n);
                let params = PerturbParams { n: n as u32, first: first as u32, first_place, end_place };
                let want: Vec<f64> = param
                    .iter()
                    .zip(&direction(seed, sample)[first..])
                    .map(|(&param, z)| f64::from(param) + f64::from(scale) * z)
                    .collect();
                let shift = from_words(&[seed, sample, f32::to_bits(scale), 0]);
                let operands: [&[f32]; 4] = [&places(), &shift, &param, &vec![f32::NAN; n]];
                for got in run("mezo_perturb", &params, &operands) {
                    assert_close("out", &got[3], &want, &vec![4.0; n], 1e-6);
                }
            }
        }
    }

    #[test]
    fn updates_go_along_all_directions() {
        let (seed, param) = (5, random(1, N));
        let mut stats = vec![f32::NAN; STATS];
        (stats[6], stats[10]) = (3.0, -0.25);
        for (finite, decays) in [(1.0, 1), (1.0, 0), (0.0, 1)] {
            stats[STATS_FINITE] = finite;
            let params = UpdateParams { n: N as u32, places: 2, samples: 2, decays };
            let want: Vec<f64> = (0..N)
                .zip(direction(seed, 0).into_iter().zip(direction(seed, 1)))
                .map(|(i, (first, second))| {
                    let (param, decay) = (f64::from(param[i]), if decays == 1 { 0.75 } else { 1.0 });
                    if finite == 1.0 { param * decay - 0.5 * (3.0 * first - 0.25 * second) } else { param }
                })
                .collect();
            for got in run("mezo_update", &params, &[&places(), &hyper(seed), &stats, &param]) {
                assert_close("param", &got[3], &want, &vec![8.0; N], 1e-6);
            }
        }
    }

    #[test]
    fn losses_differ_row_by_row() {
        let n = 1000;
        // What sums of the losses would cancel.
        let plus: Vec<f32> = random(1, n).iter().map(|loss| 1000.0 + loss).collect();
        let minus: Vec<f32> = plus.iter().zip(random(2, n)).map(|(plus, more)| plus + 0.01 * more).collect();
        let mut weight = vec![0.001; n];
        weight[7] = 0.0;
        let want = [&plus, &minus].map(|losses| {
            losses
                .iter()
                .zip(&weight)
                .map(|(&loss, &weight)| f64::from(loss) * f64::from(weight))
                .sum::<f64>()
        });
        let params = LossesParams { n: n as u32, sample: 1 };
        let before = [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.5, 0.0];
        for got in run("mezo_losses", &params, &[&weight, &plus, &minus, &before]) {
            let want = [0.0, 0.0, 0.0, 0.0, 1.0 + want[0], 2.0 + want[1], 0.5 + want[0] - want[1], 0.0];
            assert_close("sums", &got[3], &want, &[1.0, 1.0, 1.0, 1.0, 1e3, 1e3, 1e-1, 1.0], 1e-5);
        }
    }

    #[test]
    fn a_text_is_missed_where_one_of_its_tokens_is() {
        const NONE: u32 = u32::MAX;
        let starts = from_words(&[NONE, NONE, 0, 3, NONE, 4, NONE]);
        let miss = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0];
        for got in run("mezo_misses", &MissesParams { n: 7 }, &[&starts, &miss, &[f32::NAN; 7]]) {
            assert_eq!(got[2], [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
        }
    }

    #[test]
    fn slopes_say_whether_they_are_finite() {
        let params = FinishParams { samples: 2, distance: 0.5 };
        for (difference, finite) in [(1.5, 1.0), (f32::NAN, 0.0), (f32::INFINITY, 0.0)] {
            let sums = [3.0, 2.0, 1.0, 0.0, 5.0, 3.5, difference, 0.0];
            for got in run("mezo_finish", &params, &[&sums, &[7.0; STATS]]) {
                assert_eq!(got[1][..7], [finite, 7.0, 7.0, 7.0, 3.0, 2.0, 2.0]);
                assert!(finite == 0.0 || got[1][10] == 3.0);
            }
        }
    }
}
