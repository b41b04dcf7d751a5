//! Twin of [`crate::kernels::cross_entropy`].

use num_traits::Float;

use crate::kernels::cross_entropy::{ChunkParams, DEAD, FinishParams, LossesParams, Params};

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

/// What is known of a row after some chunks of the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary<F> {
    pub peak: F,
    /// The sum of exp(logit − peak).
    pub total: F,
    /// The target's logit, once its chunk was met.
    pub logit: F,
    /// Whether a logit was not finite.
    pub is_broken: bool,
}

impl<F: Float> Summary<F> {
    /// Before the first chunk.
    pub fn new() -> Self {
        Summary { peak: F::neg_infinity(), total: F::zero(), logit: F::zero(), is_broken: false }
    }
}

impl<F: Float> Default for Summary<F> {
    fn default() -> Self {
        Self::new()
    }
}

/// Brings `summaries` [rows] and `sums` [rows, width] over a chunk, whose `logits` [rows, stride] become exponentials.
pub fn chunk<F: Float>(
    params: &ChunkParams,
    targets: &[u32],
    logits: &mut [F],
    sums: &mut [F],
    summaries: &mut [Summary<F>],
) {
    let width = params.width as usize;
    let rows = logits.chunks_exact_mut(params.stride as usize).zip(summaries);
    for (i, (row, summary)) in rows.enumerate() {
        let sums = &mut sums[i * width..][..width];
        let target = targets[params.first as usize + i];
        let (row, pad) = row.split_at_mut(params.vocab as usize);
        pad.fill(F::zero());
        if let Some(&logit) = target.checked_sub(params.first_id).and_then(|column| row.get(column as usize))
        {
            summary.logit = logit;
        }
        summary.is_broken |= row.iter().any(|logit| !logit.is_finite());
        let before = summary.peak;
        summary.peak = row.iter().copied().fold(before, F::max);
        let rescale = (before - summary.peak).exp();
        if params.first_id > 0 {
            sums.iter_mut().for_each(|sum| *sum = *sum * rescale);
        }
        let grown = row.iter().fold(F::zero(), |sum, &logit| sum + (logit - summary.peak).exp());
        summary.total = summary.total * rescale + grown;
        let is_zero = target == DEAD || summary.is_broken;
        for logit in row {
            *logit = if is_zero { F::zero() } else { (*logit - summary.peak).exp() };
        }
    }
}

/// Writes `row_loss[first..first + rows]` and replaces `rows` [rows, width], W[target], by the gradient.
pub fn finish<F: Float>(
    params: &FinishParams,
    targets: &[u32],
    row_weight: &[F],
    summaries: &[Summary<F>],
    sums: &[F],
    rows: &mut [F],
    row_loss: &mut [F],
) {
    let width = params.width as usize;
    let of_rows = rows.chunks_exact_mut(width).zip(sums.chunks_exact(width)).zip(summaries);
    for (i, ((row, sums), summary)) in of_rows.enumerate() {
        let at = params.first as usize + i;
        if targets[at] == DEAD {
            row_loss[at] = F::zero();
            row.fill(F::zero());
        } else if targets[at] >= params.vocab || summary.is_broken {
            row_loss[at] = F::nan();
            row.fill(F::nan());
        } else {
            row_loss[at] = (summary.peak - summary.logit) + summary.total.ln();
            for (value, &sum) in row.iter_mut().zip(sums) {
                *value = (sum / summary.total - *value) * row_weight[at];
            }
        }
    }
}

/// Writes `row_loss[first..first + rows]` and `row_miss` there.
pub fn losses<F: Float>(
    params: &LossesParams,
    targets: &[u32],
    summaries: &[Summary<F>],
    row_loss: &mut [F],
    row_miss: &mut [F],
) {
    for (i, summary) in summaries.iter().enumerate() {
        let at = params.first as usize + i;
        (row_loss[at], row_miss[at]) = if targets[at] == DEAD {
            (F::zero(), F::zero())
        } else if targets[at] >= params.vocab || summary.is_broken {
            (F::nan(), F::nan())
        } else {
            let miss = if summary.logit == summary.peak { F::zero() } else { F::one() };
            ((summary.peak - summary.logit) + summary.total.ln(), miss)
        };
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

    /// The losses of rows X [3, 4] whose logits X·Wᵀ meet the vocabulary in chunks that begin at `starts`, and their
    /// gradient.
    fn in_chunks(starts: &[u32], x: &[f64], w: &[f64]) -> ([f64; 4], Vec<f64>) {
        const WIDTH: usize = 4;
        let row_of = |values: &[f64], row: usize| -> Vec<f64> { values[row * WIDTH..][..WIDTH].to_vec() };
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let mut sums = vec![f64::NAN; 3 * WIDTH];
        let mut summaries = [Summary::new(); 3];
        let ends = starts.iter().skip(1).copied().chain([PARAMS.vocab]);
        for (&first_id, end) in starts.iter().zip(ends) {
            let vocab = end - first_id;
            let params = ChunkParams { rows: 3, vocab, stride: 8, first: 1, first_id, width: WIDTH as u32 };
            let mut logits = vec![f64::NAN; 3 * 8];
            for (i, logits) in logits.chunks_exact_mut(8).enumerate() {
                for v in 0..vocab as usize {
                    logits[v] = dot(&row_of(x, i), &row_of(w, first_id as usize + v));
                }
            }
            chunk(&params, &TARGETS, &mut logits, &mut sums, &mut summaries);
            for (i, logits) in logits.chunks_exact(8).enumerate() {
                assert!(logits[vocab as usize..].iter().all(|&pad| pad == 0.0));
                for h in 0..WIDTH {
                    let grown: f64 =
                        (0..vocab as usize).map(|v| logits[v] * w[(first_id as usize + v) * WIDTH + h]).sum();
                    let sum = &mut sums[i * WIDTH + h];
                    *sum = if first_id == 0 { grown } else { *sum + grown };
                }
            }
        }
        let mut rows: Vec<f64> = TARGETS[1..]
            .iter()
            .flat_map(
                |&target| if target == DEAD { vec![f64::NAN; WIDTH] } else { row_of(w, target as usize) },
            )
            .collect();
        let params = FinishParams { rows: 3, vocab: PARAMS.vocab, width: WIDTH as u32, first: 1 };
        let mut row_loss = [0.0; 4];
        finish(&params, &TARGETS, &WEIGHTS, &summaries, &sums, &mut rows, &mut row_loss);
        (row_loss, rows)
    }

    #[test]
    fn chunks_have_the_loss_of_the_whole_and_its_gradient() {
        let x: Vec<f64> = (0..3 * 4).map(|i| 2.0 * (i as f64 * 1.3).sin()).collect();
        let w: Vec<f64> = (0..5 * 4).map(|i| 2.0 * (i as f64 * 0.7).cos()).collect();
        let mut logits = [f64::NAN; 24];
        for (i, v) in (0..3).flat_map(|i| (0..5).map(move |v| (i, v))) {
            logits[i * 8 + v] = (0..4).map(|h| x[i * 4 + h] * w[v * 4 + h]).sum();
        }
        let mut whole = [0.0; 4];
        forward_backward(&PARAMS, &TARGETS, &WEIGHTS, &mut logits, &mut whole);
        for starts in [&[0][..], &[0, 2], &[0, 1, 4], &[0, 1, 2, 3, 4]] {
            let (row_loss, gradient) = in_chunks(starts, &x, &w);
            assert!(row_loss.iter().zip(whole).all(|(loss, whole)| (loss - whole).abs() < 1e-13));
            let weighted = |x: &[f64]| -> f64 {
                in_chunks(starts, x, &w).0.iter().zip(&WEIGHTS).map(|(loss, weight)| loss * weight).sum()
            };
            check_gradient(weighted, &x, &gradient, 1e-8);
        }
    }

    #[test]
    fn a_broken_chunk_breaks_its_row_alone() {
        let params = ChunkParams { rows: 3, vocab: 5, stride: 8, first: 1, first_id: 0, width: 4 };
        let mut poisoned = logits();
        poisoned[19] = f64::INFINITY;
        let mut summaries = [Summary::new(); 3];
        chunk(&params, &[9, 2, DEAD, 4], &mut poisoned, &mut [0.0; 12], &mut summaries);
        assert!(poisoned[16..].iter().all(|&logit| logit == 0.0) && poisoned[0] > 0.0);
        let (mut rows, mut row_loss) = (vec![1.0; 12], [0.0; 4]);
        let params = FinishParams { rows: 3, vocab: 5, width: 4, first: 1 };
        finish(&params, &[9, 5, DEAD, 4], &WEIGHTS, &summaries, &[1.0; 12], &mut rows, &mut row_loss);
        assert!(row_loss[1].is_nan() && row_loss[2] == 0.0 && row_loss[3].is_nan());
        assert!(rows[0].is_nan() && rows[4..8] == [0.0; 4] && rows[8].is_nan());
    }
}
