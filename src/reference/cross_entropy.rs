//! Twin of [`crate::kernels::cross_entropy`].

use num_traits::Float;

use crate::kernels::cross_entropy::{DEAD, Params};

/// Writes `row_loss[first..first + rows]` and replaces `logits` [rows, stride] by their gradient.
pub fn forward_backward<F: Float>(
    params: &Params,
    targets: &[u32],
    row_weight: &[F],
    logits: &mut [F],
    row_loss: &mut [F],
) {
    let vocab = params.vocab as usize;
    for (i, row) in logits.chunks_exact_mut(params.stride as usize).enumerate() {
        let at = params.first as usize + i;
        let (row, pad) = row.split_at_mut(vocab);
        pad.fill(F::zero());
        let target = targets[at];
        if target == DEAD {
            row_loss[at] = F::zero();
            row.fill(F::zero());
        } else if target as usize >= vocab || row.iter().any(|logit| !logit.is_finite()) {
            row_loss[at] = F::nan();
            row.fill(F::nan());
        } else {
            let peak = row.iter().copied().fold(F::neg_infinity(), F::max);
            let total = row.iter().fold(F::zero(), |sum, &logit| sum + (logit - peak).exp());
            row_loss[at] = (peak - row[target as usize]) + total.ln();
            for (v, logit) in row.iter_mut().enumerate() {
                let onehot = if v == target as usize { F::one() } else { F::zero() };
                *logit = ((*logit - peak).exp() / total - onehot) * row_weight[at];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::finite_difference::check_gradient;

    const PARAMS: Params = Params { rows: 3, vocab: 5, stride: 8, first: 1 };
    const TARGETS: [u32; 4] = [9, 2, DEAD, 4];
    const WEIGHTS: [f64; 4] = [7.0, 0.5, 1.0, 2.0];

    fn logits() -> Vec<f64> {
        (0..24).map(|i| 3.0 * (i as f64 * 0.9).sin()).collect()
    }

    #[test]
    fn the_gradient_is_that_of_the_weighted_loss() {
        let loss = |logits: &[f64]| -> f64 {
            let mut row_loss = [0.0; 4];
            forward_backward(&PARAMS, &TARGETS, &WEIGHTS, &mut logits.to_vec(), &mut row_loss);
            row_loss.iter().zip(&WEIGHTS).map(|(loss, weight)| loss * weight).sum()
        };
        let mut gradient = logits();
        forward_backward(&PARAMS, &TARGETS, &WEIGHTS, &mut gradient, &mut [0.0; 4]);
        check_gradient(loss, &logits(), &gradient, 1e-8);
    }

    #[test]
    fn equal_logits_cost_the_logarithm_of_their_number() {
        let mut row_loss = [0.0; 4];
        forward_backward(&PARAMS, &TARGETS, &WEIGHTS, &mut [800.0f64; 24], &mut row_loss);
        assert!((row_loss[1] - 5f64.ln()).abs() < 1e-14 && row_loss[2] == 0.0);
    }

    #[test]
    fn what_is_not_a_number_is_not_hidden() {
        let mut poisoned = logits();
        poisoned[3] = f64::NAN;
        let mut row_loss = [0.0; 4];
        forward_backward(&PARAMS, &[9, 2, 5, 4], &WEIGHTS, &mut poisoned, &mut row_loss);
        assert!(row_loss[1].is_nan() && row_loss[2].is_nan() && row_loss[3].is_finite());
        assert!(poisoned[0].is_nan() && poisoned[8].is_nan() && poisoned[5] == 0.0);
    }
}
