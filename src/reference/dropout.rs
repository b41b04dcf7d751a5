//! Twin of [`crate::kernels::dropout`].

use num_traits::Float;

use super::random::pcg4d;
use crate::kernels::dropout::Params;

/// Whether each of the n elements is kept.
pub fn mask(params: &Params, seed: u32) -> Vec<bool> {
    (0..params.n / 4)
        .flat_map(|quad| pcg4d([quad, params.stream, seed, 0]))
        .map(|random| random >= params.threshold)
        .collect()
}

/// Returns `out` [n].
pub fn forward<F: Float>(params: &Params, seed: u32, inp: &[F]) -> Vec<F> {
    let scale = F::from(params.scale).expect("a float");
    let kept = mask(params, seed);
    inp.iter().zip(kept).map(|(&x, is_kept)| if is_kept { x * scale } else { F::zero() }).collect()
}

/// Adds to `dinp` [n] the gradient of `dout` [n]: masking is linear and its own transpose.
pub fn backward_add<F: Float>(params: &Params, seed: u32, dout: &[F], dinp: &mut [F]) {
    for (dinp, gradient) in dinp.iter_mut().zip(forward(params, seed, dout)) {
        *dinp = *dinp + gradient;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::finite_difference::check_gradient;

    const N: u32 = 1 << 16;

    #[test]
    fn backward_is_the_gradient() {
        let params = Params::new(64, 3, 0.4);
        let inp: Vec<f64> = (0..64).map(|i| (i as f64).sin()).collect();
        let dout: Vec<f64> = (0..64).map(|i| (i as f64 * 0.3).cos()).collect();
        let loss =
            |inp: &[f64]| -> f64 { forward(&params, 11, inp).iter().zip(&dout).map(|(y, g)| y * g).sum() };
        let mut dinp = vec![0.0; 64];
        backward_add(&params, 11, &dout, &mut dinp);
        check_gradient(loss, &inp, &dinp, 1e-8);
    }

    #[test]
    fn zero_probability_is_the_identity() {
        let inp: Vec<f32> = (0..64).map(|i| i as f32 - 7.3).collect();
        assert_eq!(forward(&Params::new(64, 1, 0.0), 5, &inp), inp);
    }

    #[test]
    fn the_rate_is_the_probability() {
        for probability in [0.05, 0.1, 0.5, 0.9] {
            let kept = mask(&Params::new(N, 2, probability), 1).iter().filter(|kept| **kept).count();
            let rate = 1.0 - kept as f64 / f64::from(N);
            // Five standard deviations of a binomial share.
            let bound = 5.0 * (probability * (1.0 - probability) / f64::from(N)).sqrt();
            assert!((rate - probability).abs() < bound, "dropped {rate} at {probability}");
        }
    }

    #[test]
    fn streams_seeds_and_neighbours_are_independent() {
        let of = |stream, seed| mask(&Params::new(N, stream, 0.5), seed);
        let base = of(4, 9);
        let mut others = vec![of(5, 9), of(4, 10), of(5, 8), of(9, 4)];
        others.extend([1, 2, 3, 4, 64].map(|shift| {
            let mut moved = base.clone();
            moved.rotate_left(shift);
            moved
        }));
        for (i, other) in others.iter().enumerate() {
            let equal = base.iter().zip(other).filter(|(a, b)| a == b).count();
            let share = equal as f64 / f64::from(N);
            // Five standard deviations around one half.
            assert!((share - 0.5).abs() < 2.5 / f64::from(N).sqrt(), "mask {i} agrees in {share}");
        }
    }
}
