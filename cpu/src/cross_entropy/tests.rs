use super::*;
use crate::testing::{assert_close, from_words, random, run};

/// Loss and softmax of a row in f64.
fn softmax(row: &[f32], target: usize) -> (f64, Vec<f64>) {
    let peak = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let grown: Vec<f64> = row.iter().map(|&logit| (f64::from(logit) - f64::from(peak)).exp()).collect();
    let total: f64 = grown.iter().sum();
    (f64::from(peak - row[target]) + total.ln(), grown.iter().map(|grown| grown / total).collect())
}

/// Logits [rows, stride] within ±`range`, with NaN in the lanes past `vocab`.
fn logits(rows: usize, vocab: usize, stride: usize, range: f32) -> Vec<f32> {
    let mut logits: Vec<f32> = random(1, rows * stride).iter().map(|x| range * x).collect();
    logits.chunks_mut(stride).for_each(|row| row[vocab..].fill(f32::NAN));
    logits
}

/// Live targets over all the vocabulary, behind one that is not looked at; every fifth row is dead.
fn targets(rows: usize, vocab: usize) -> Vec<u32> {
    let target = |row: usize| if row % 5 == 4 { DEAD } else { (vocab - 1 - row * 7 % vocab) as u32 };
    [9].into_iter().chain((0..rows).map(target)).collect()
}

#[test]
fn losses_and_gradients_are_those_of_f64() {
    for (rows, vocab, stride) in [(1, 1, 4), (3, 5, 8), (7, 77, 80), (65, 100, 104), (6, 33_001, 33_008)] {
        for range in [1.0, 30.0, 3000.0] {
            let params = Params { rows: rows as u32, vocab: vocab as u32, stride: stride as u32, first: 1 };
            let (before, targets) = (logits(rows, vocab, stride, range), targets(rows, vocab));
            let weights: Vec<f32> = random(2, rows + 1).iter().map(|weight| weight + 1.5).collect();
            let mut want = vec![0.0; rows * stride];
            let mut want_loss = vec![0.0; rows];
            for row in (0..rows).filter(|&row| targets[row + 1] != DEAD) {
                let (target, weight) = (targets[row + 1] as usize, f64::from(weights[row + 1]));
                let (loss, share) = softmax(&before[row * stride..][..vocab], target);
                want_loss[row] = loss;
                for v in 0..vocab {
                    want[row * stride + v] = (share[v] - f64::from(u8::from(v == target))) * weight;
                }
            }
            let losses = vec![-7.0; rows + 2];
            let operands: [&[f32]; 4] = [&from_words(&targets), &weights, &before, &losses];
            for got in run("cross_entropy_forward_backward", &params, &operands) {
                assert_close("gradient", &got[2], &want, &vec![1.0; want.len()], 2e-6);
                let norms: Vec<f64> = want_loss.iter().map(|loss| loss.max(1.0)).collect();
                assert_close("loss", &got[3][1..rows + 1], &want_loss, &norms, 5e-7);
                assert!(got[3][0] == -7.0 && got[3][rows + 1] == -7.0);
            }
        }
    }
}

#[test]
fn what_is_not_finite_breaks_its_row_and_no_other() {
    let params = Params { rows: 4, vocab: 77, stride: 80, first: 0 };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, 9, 40, 76] {
            let mut before = logits(4, 77, 80, 4.0);
            before[80 + at] = bad;
            before[2 * 80 + at] = bad;
            let targets = from_words(&[3, 3, DEAD, 77]);
            for got in
                run("cross_entropy_forward_backward", &params, &[&targets, &[1.0; 4], &before, &[1.0; 4]])
            {
                let row = |row: usize| &got[2][row * 80..][..77];
                assert!(row(0).iter().all(|x| x.is_finite()) && got[3][0].is_finite());
                assert!(row(1).iter().all(|x| x.is_nan()) && got[3][1].is_nan());
                assert!(row(2).iter().all(|&x| x == 0.0) && got[3][2] == 0.0);
                assert!(row(3).iter().all(|x| x.is_nan()) && got[3][3].is_nan());
                assert!((0..4).all(|row| got[2][row * 80 + 77..][..3] == [0.0; 3]));
            }
        }
    }
}

/// Brings rows over the vocabulary in chunks that begin at `starts`, as the product behind each chunk would, and
/// finishes them. Returns the losses and the gradients of the rows for each flavour.
fn in_chunks(
    (rows, vocab, width): (usize, usize, usize),
    starts: &[usize],
    whole: &[f32],
    head: &[f32],
    targets: &[u32],
    weights: &[f32],
) -> Vec<(Vec<f32>, Vec<f32>)> {
    let flavours = crate::testing::levels().len();
    (0..flavours)
        .map(|flavour| {
            let mut sums = vec![f32::NAN; rows * width];
            let mut summaries = vec![f32::NAN; rows * SUMMARY_WORDS];
            for (i, &start) in starts.iter().enumerate() {
                let end = starts.get(i + 1).copied().unwrap_or(vocab);
                let (columns, stride) = (end - start, (end - start).next_multiple_of(4));
                let mut logits = vec![f32::NAN; rows * stride];
                for row in 0..rows {
                    logits[row * stride..][..columns].copy_from_slice(&whole[row * vocab..][start..end]);
                }
                let params = ChunkParams {
                    rows: rows as u32,
                    vocab: columns as u32,
                    stride: stride as u32,
                    first: 1,
                    first_id: start as u32,
                    width: width as u32,
                };
                let after = vec![f32::NAN; rows * SUMMARY_WORDS];
                let operands: [&[f32]; 5] = [&from_words(targets), &summaries, &logits, &sums, &after];
                let mut got = run("cross_entropy_chunk", &params, &operands).swap_remove(flavour);
                summaries = got.swap_remove(4);
                let scaled = got.swap_remove(3);
                for (row, h) in (0..rows).flat_map(|row| (0..width).map(move |h| (row, h))) {
                    let grown = &got[2][row * stride..][..stride];
                    assert!(grown[columns..].iter().all(|&pad| pad == 0.0));
                    let term = |v: usize| f64::from(grown[v]) * f64::from(head[(start + v) * width + h]);
                    let old = if start == 0 { 0.0 } else { f64::from(scaled[row * width + h]) };
                    sums[row * width + h] = (old + (0..columns).map(term).sum::<f64>()) as f32;
                }
            }
            let mut of_targets = vec![f32::NAN; rows * width];
            for (row, &target) in targets[1..].iter().enumerate().filter(|(_, target)| **target != DEAD) {
                of_targets[row * width..][..width].copy_from_slice(&head[target as usize * width..][..width]);
            }
            let params =
                FinishParams { rows: rows as u32, vocab: vocab as u32, width: width as u32, first: 1 };
            let losses = vec![f32::NAN; rows + 1];
            let operands: [&[f32]; 6] =
                [&from_words(targets), weights, &summaries, &sums, &of_targets, &losses];
            let mut got = run("cross_entropy_finish", &params, &operands).swap_remove(flavour);
            (got.swap_remove(5).split_off(1), got.swap_remove(4))
        })
        .collect()
}

#[test]
fn chunks_have_the_loss_of_the_whole_and_its_gradient() {
    let cases: [(usize, usize, &[usize]); 4] =
        [(1, 7, &[0]), (3, 30, &[0, 16]), (7, 77, &[0, 16, 64, 76]), (11, 2100, &[0, 1024, 1040])];
    for (rows, vocab, starts) in cases {
        let width = 12;
        for range in [1.0, 40.0] {
            let whole = logits(rows, vocab, vocab, range);
            let (head, targets) = (random(2, vocab * width), targets(rows, vocab));
            let weights: Vec<f32> = random(3, rows + 1).iter().map(|weight| weight + 1.5).collect();
            let (mut want_loss, mut want) = (vec![0.0; rows], vec![0.0; rows * width]);
            for row in (0..rows).filter(|&row| targets[row + 1] != DEAD) {
                let target = targets[row + 1] as usize;
                let (loss, share) = softmax(&whole[row * vocab..][..vocab], target);
                want_loss[row] = loss;
                for h in 0..width {
                    let term = |v: usize| share[v] * f64::from(head[v * width + h]);
                    let sum: f64 = (0..vocab).map(term).sum();
                    let of_target = f64::from(head[target * width + h]);
                    want[row * width + h] = (sum - of_target) * f64::from(weights[row + 1]);
                }
            }
            let norms: Vec<f64> = want_loss.iter().map(|loss| loss.max(1.0)).collect();
            for (loss, gradient) in in_chunks((rows, vocab, width), starts, &whole, &head, &targets, &weights)
            {
                assert_close("loss", &loss, &want_loss, &norms, 1e-6);
                assert_close("gradient", &gradient, &want, &vec![1.0; want.len()], 4e-6);
            }
        }
    }
}

#[test]
fn a_broken_chunk_breaks_its_row_alone() {
    let mut whole = logits(3, 20, 20, 4.0);
    whole[20 + 3] = f32::INFINITY;
    whole[2 * 20 + 17] = f32::NAN;
    let head = random(2, 20 * 8);
    for (loss, gradient) in in_chunks((3, 20, 8), &[0, 8, 16], &whole, &head, &[9, 2, 5, 5], &[1.0; 4]) {
        assert!(loss[0].is_finite() && loss[1].is_nan() && loss[2].is_nan());
        assert!(gradient[..8].iter().all(|x| x.is_finite()) && gradient[8..].iter().all(|x| x.is_nan()));
    }
}
