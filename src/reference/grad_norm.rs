//! Twin of [`crate::kernels::grad_norm`].

use num_traits::Float;

use crate::kernels::grad_norm::{BLOCK, FinishParams, LossSumParams, STATS, STATS_FINITE, SquaresParams};

/// Adds `row_loss[0..n]` to `accumulator`.
pub fn loss_sum<F: Float>(params: &LossSumParams, row_loss: &[F], accumulator: &mut F) {
    *accumulator = row_loss[..params.n as usize].iter().fold(*accumulator, |sum, &loss| sum + loss);
}

/// Writes the sums of squares of the blocks of `grad` to `partials`, from `first` on.
pub fn squares<F: Float>(params: &SquaresParams, grad: &[F], partials: &mut [F]) {
    let blocks = grad[..params.n as usize].chunks(BLOCK);
    for (block, sum) in blocks.zip(&mut partials[params.first as usize..]) {
        *sum = block.iter().fold(F::zero(), |sum, &g| sum + g * g);
    }
}

/// Returns [norm, clip coefficient, 1 when finite, 1 when `before` was finite]; `before` are the stats of the step
/// before.
pub fn finish<F: Float>(params: &FinishParams, partials: &[F], loss: F, before: &[F; STATS]) -> [F; STATS] {
    let sum = partials[..params.count as usize].iter().fold(F::zero(), |sum, &partial| sum + partial);
    let norm = sum.sqrt();
    if !norm.is_finite() || !loss.is_finite() {
        return [norm, F::zero(), F::zero(), before[STATS_FINITE]];
    }
    let max_grad_norm = F::from(params.max_grad_norm).expect("a float");
    let coefficient = max_grad_norm / (norm + F::from(1e-6).expect("a float"));
    let clip = if max_grad_norm > F::zero() { coefficient.min(F::one()) } else { F::one() };
    [norm, clip, F::one(), before[STATS_FINITE]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_of_two_buffers_is_clipped() {
        let mut partials = [0.0f64; 3];
        squares(&SquaresParams { n: BLOCK as u32 + 4, first: 0 }, &vec![1.0; BLOCK + 4], &mut partials);
        squares(&SquaresParams { n: 4, first: 2 }, &[2.0; 4], &mut partials);
        assert_eq!(partials, [BLOCK as f64, 4.0, 16.0]);

        let norm = (BLOCK as f64 + 20.0).sqrt();
        let clipped = finish(&FinishParams { count: 3, max_grad_norm: 0.5 }, &partials, 1.0, &[0.0; 4]);
        assert_eq!(clipped, [norm, 0.5 / (norm + f64::from(1e-6f32)), 1.0, 0.0].map(|x: f64| x));
        let free = finish(&FinishParams { count: 3, max_grad_norm: 0.0 }, &partials, 1.0, &clipped);
        assert_eq!(free, [norm, 1.0, 1.0, 1.0]);
        let within = finish(&FinishParams { count: 3, max_grad_norm: 1000.0 }, &partials, 1.0, &free);
        assert_eq!(within[1], 1.0);
    }

    #[test]
    fn a_norm_that_is_not_finite_says_so() {
        for bad in [f64::NAN, f64::INFINITY] {
            let params = FinishParams { count: 2, max_grad_norm: 1.0 };
            let stats = finish(&params, &[1.0, bad], 1.0, &[0.0; 4]);
            assert!(!stats[0].is_finite() && stats[1..] == [0.0; 3]);
            assert_eq!(finish(&params, &[1.0, 3.0], bad, &[1.0; 4]), [2.0, 0.0, 0.0, 1.0]);
        }
    }
}
