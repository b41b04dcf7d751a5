//! Twin of [`crate::kernels::mezo`].

use num_traits::Float;

use super::random::pcg4d;
use crate::kernels::mezo::{
    FinishParams, Hyper, LossesParams, OF_SAMPLE, PerturbParams, Place, STATS, STATS_FINITE, STATS_SAMPLES,
    Shift, UpdateParams,
};

fn float<F: Float>(x: f64) -> F {
    F::from(x).expect("a float")
}

/// The four values of a direction that have the number `counter` in their matrix, by Box and Muller's method.
fn normal_four<F: Float>(counter: u32, stream: u32, seed: u32, sample: u32) -> [F; 4] {
    let [x, y, z, w] = pcg4d([counter, stream, seed, 1 + sample]);
    let pair = |bits: u32, turn: u32| {
        let uniform = (f64::from(bits >> 8) + 1.0) / f64::from(1 << 24);
        // An eighth of a turn back, so that polynomials of an eighth to either side make it.
        let angle = (f64::from(turn >> 6) / f64::from(1 << 26) - 0.125) * std::f64::consts::TAU;
        let radius = (-2.0 * uniform.ln()).sqrt();
        [float(radius * angle.cos()), float(radius * angle.sin())]
    };
    let [first, second] = [pair(x, y), pair(z, w)];
    [first[0], first[1], second[0], second[1]]
}

/// A direction [n], zero outside the matrices of `places`.
pub fn direction<F: Float>(n: usize, places: &[Place], seed: u32, sample: u32) -> Vec<F> {
    let mut z = vec![F::zero(); n];
    for &Place { first, end, stride, cols, counter, stream, .. } in places {
        for at in first..end.min(n as u32) {
            let [row, col] = [(at - first) / stride, (at - first) % stride];
            if col < cols {
                let four = counter + row * cols.div_ceil(4) + col / 4;
                z[at as usize] = normal_four(four, stream, seed, sample)[col as usize % 4];
            }
        }
    }
    z
}

/// Returns `out` [n].
pub fn perturb<F: Float>(params: &PerturbParams, places: &[Place], shift: &Shift, param: &[F]) -> Vec<F> {
    let (first, end) = (params.first as usize, (params.first + params.n) as usize);
    let z: Vec<F> = direction(end, places, shift.seed, shift.sample);
    param.iter().zip(&z[first..]).map(|(&param, &z)| param + float::<F>(shift.scale.into()) * z).collect()
}

/// Adds to `sums` [samples, 4].
pub fn losses<F: Float>(params: &LossesParams, weight: &[F], plus: &[F], minus: &[F], sums: &mut [F]) {
    let own = &mut sums[params.sample as usize * OF_SAMPLE..];
    for i in 0..params.n as usize {
        own[0] = own[0] + weight[i] * plus[i];
        own[1] = own[1] + weight[i] * minus[i];
        own[2] = own[2] + weight[i] * (plus[i] - minus[i]);
    }
}

/// Returns `out` [n].
pub fn misses<F: Float>(starts: &[u32], miss: &[F]) -> Vec<F> {
    let of_text = |i: usize| miss.get(starts[i] as usize..=i).unwrap_or_default();
    let sum = |i: usize| of_text(i).iter().fold(F::zero(), |sum, &miss| sum + miss);
    (0..miss.len()).map(|i| if sum(i) > F::one() { F::one() } else { sum(i) }).collect()
}

/// Returns the stats, zero where there is no sample.
pub fn finish<F: Float>(params: &FinishParams, sums: &[F]) -> [F; STATS] {
    let mut stats = [F::zero(); STATS];
    for sample in 0..params.samples as usize {
        let (own, sum) = (STATS_SAMPLES + OF_SAMPLE * sample, &sums[OF_SAMPLE * sample..]);
        (stats[own], stats[own + 1]) = (sum[0], sum[1]);
        stats[own + 2] = sum[2] / float(params.distance.into());
    }
    stats[STATS_FINITE] = if stats.iter().all(|value| value.is_finite()) { F::one() } else { F::zero() };
    stats
}

/// Updates `param` [n].
pub fn update<F: Float>(
    params: &UpdateParams,
    places: &[Place],
    hyper: &Hyper,
    stats: &[F; STATS],
    param: &mut [F],
) {
    if stats[STATS_FINITE] != F::one() {
        return;
    }
    let decay = if params.decays == 1 { float(hyper.decay.into()) } else { F::one() };
    param.iter_mut().for_each(|param| *param = *param * decay);
    for sample in 0..params.samples {
        let slope = stats[STATS_SAMPLES + OF_SAMPLE * sample as usize + 2];
        let z: Vec<F> = direction(params.n as usize, places, hyper.seed, sample);
        for (param, z) in param.iter_mut().zip(z) {
            *param = *param - float::<F>(hyper.rate.into()) * slope * z;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: u32 = 1 << 8;
    const COLS: u32 = 1 << 10;

    fn of(stream: u32, seed: u32, sample: u32) -> Vec<f64> {
        let place = Place { end: ROWS * COLS, stride: COLS, cols: COLS, stream, ..Place::default() };
        direction((ROWS * COLS) as usize, &[place], seed, sample)
    }

    fn mean(values: impl Iterator<Item = f64>) -> f64 {
        values.sum::<f64>() / f64::from(ROWS * COLS)
    }

    /// Each within five standard deviations of what a normal distribution has.
    #[test]
    fn a_direction_has_the_moments_and_the_tails_of_a_normal_distribution() {
        let root = f64::from(ROWS * COLS).sqrt();
        for (stream, seed, sample) in [(1, 1, 0), (0, 0, 0), (u32::MAX, 7, 3)] {
            let z = of(stream, seed, sample);
            // The moments of orders 1 to 6 are 0, 1, 0, 3, 0, 15, and their variances 1, 2, 15, 96, 945, 10170.
            for (order, (want, variance)) in
                [(0.0, 1.0), (1.0, 2.0), (0.0, 15.0), (3.0, 96.0), (0.0, 945.0), (15.0, 10_170.0f64)]
                    .into_iter()
                    .enumerate()
            {
                let moment = mean(z.iter().map(|z| z.powi(order as i32 + 1)));
                assert!(
                    (moment - want).abs() < 5.0 * variance.sqrt() / root,
                    "moment {} is {moment}",
                    order + 1
                );
            }
            for (beyond, share) in
                [(1.0, 0.317_310_5), (2.0, 0.045_500_26), (3.0, 2.699_796e-3), (4.0, 6.334_248e-5)]
            {
                let found = mean(z.iter().map(|z| f64::from(z.abs() > beyond)));
                let bound = 5.0 * (share * (1.0f64 - share)).sqrt() / root;
                assert!((found - share).abs() < bound, "a share of {found} is beyond {beyond}");
            }
        }
    }

    #[test]
    fn directions_and_neighbours_are_not_correlated() {
        let root = f64::from(ROWS * COLS).sqrt();
        let z = of(3, 5, 0);
        let mut others = vec![of(4, 5, 0), of(3, 6, 0), of(3, 5, 1), of(5, 3, 0)];
        others.extend([1, 2, 3, 4, COLS as usize].map(|shift| {
            let mut moved = z.clone();
            moved.rotate_left(shift);
            moved
        }));
        for (i, other) in others.iter().enumerate() {
            let products = mean(z.iter().zip(other).map(|(a, b)| a * b));
            assert!(products.abs() < 5.0 / root, "direction {i} is correlated by {products}");
            // Nor are their sizes.
            let squares = mean(z.iter().zip(other).map(|(a, b)| (a * a - 1.0) * (b * b - 1.0)));
            assert!(squares.abs() < 10.0 / root, "the squares of direction {i} are correlated by {squares}");
        }
    }

    /// Wherever a matrix lies, whatever its padding, and though it is cut: its values are the same.
    #[test]
    fn a_direction_does_not_depend_on_where_a_matrix_lies() {
        let whole = Place { end: 40 * 12, stride: 12, cols: 10, stream: 9, ..Place::default() };
        let z: Vec<f64> = direction(480, &[whole], 2, 0);
        let cut =
            |rows: u32, counter, first| Place { first, end: first + rows * 16, stride: 16, counter, ..whole };
        let moved: Vec<f64> = direction(1000, &[cut(24, 16 * 3, 64), cut(16, 0, 512)], 2, 0);
        for (row, col) in (0..40).flat_map(|row| (0..10).map(move |col| (row, col))) {
            let at = if row < 16 { 512 + row * 16 } else { 64 + (row - 16) * 16 } + col;
            assert_eq!(z[row * 12 + col], moved[at], "row {row}, column {col}");
        }
        assert!(z.iter().skip(10).step_by(12).all(|&z| z == 0.0), "padding has no direction");
    }

    /// Of a quadratic loss the slope along z is its gradient's product with z, whatever the distance.
    #[test]
    fn the_slope_is_the_derivative_along_the_direction() {
        let n = 64;
        let places = [Place { end: 64, stride: 64, cols: 64, stream: 1, ..Place::default() }];
        let param: Vec<f64> = (0..n).map(|i| (i as f64).sin()).collect();
        let hyper = Hyper::new(0.25, 0.0, 1, 11);
        let at = |scale: f32| {
            let params = PerturbParams { n: n as u32, first: 0, first_place: 0, end_place: 1 };
            let moved = perturb(&params, &places, &Shift { seed: 11, sample: 0, scale, pad: 0 }, &param);
            moved.iter().map(|x| 0.5 * x * x).sum::<f64>()
        };
        let mut sums = [0.0; OF_SAMPLE];
        losses(&LossesParams { n: 1, sample: 0 }, &[1.0], &[at(0.5)], &[at(-0.5)], &mut sums);
        let stats = finish(&FinishParams { samples: 1, distance: 1.0 }, &sums);
        let z: Vec<f64> = direction(n, &places, 11, 0);
        let want: f64 = z.iter().zip(&param).map(|(z, x)| z * x).sum();
        assert!((stats[STATS_SAMPLES + 2] - want).abs() < 1e-12 * want.abs());

        let mut moved = param.clone();
        let params = UpdateParams { n: n as u32, places: 1, samples: 1, decays: 0 };
        update(&params, &places, &hyper, &stats, &mut moved);
        for ((moved, param), z) in moved.iter().zip(&param).zip(z) {
            assert!((moved - (param - 0.25 * want * z)).abs() < 1e-12);
        }
    }
}
