//! The step's loss, the gradient's norm and its clipping against their twins.

use tabtune::kernels::grad_norm::{self, FinishParams, LossSumParams, SquaresParams, partial_count};
use tabtune::reference;

use crate::harness::{Harness, assert_close, assert_close_scaled, to_f32, to_f64};

/// f32 sums of positive terms, at most a few hundred in one chain.
const TOLERANCE: f32 = 1e-6;

#[test]
fn losses_add_up_over_micro_batches() {
    for mut h in Harness::each() {
        let accumulator = h.input(&[0.0]);
        let mut want = 0.0;
        for (seed, n) in [1u32, 2, 63, 64, 65, 1000, 16_384].into_iter().enumerate() {
            let params = LossSumParams { n };
            let mut losses = h.random(seed as u64, n as usize, 0.0, 12.0);
            losses.extend([f32::NAN; 3]);
            let losses_in = h.input(&losses);
            h.run(|rec| grad_norm::loss_sum(rec, params, losses_in, accumulator));
            reference::grad_norm::loss_sum(&params, &to_f64(&losses), &mut want);
            assert_close(&format!("sum of {n}"), &h.read(accumulator), &[want as f32], TOLERANCE);
        }
        let broken = h.input(&[1.0, f32::NAN]);
        h.run(|rec| grad_norm::loss_sum(rec, LossSumParams { n: 2 }, broken, accumulator));
        assert!(h.read(accumulator)[0].is_nan());
    }
}

/// The stats of a gradient in several buffers.
fn stats(h: &mut Harness, buffers: &[Vec<f32>], loss: f32, max_grad_norm: f32) -> ([f32; 4], [f64; 4]) {
    let count: usize = buffers.iter().map(|grad| partial_count(grad.len())).sum();
    let (partials, stats) = (h.output(count + 1), h.output(4));
    let mut want = vec![0.0; count];
    let mut first = 0;
    for grad in buffers {
        let params = SquaresParams { n: grad.len() as u32, first };
        let grad_in = h.input(grad);
        h.run(|rec| grad_norm::squares(rec, params, grad_in, partials));
        reference::grad_norm::squares(&params, &to_f64(grad), &mut want);
        first += partial_count(grad.len()) as u32;
    }
    let params = FinishParams { count: count as u32, max_grad_norm };
    let loss_in = h.input(&[loss]);
    h.run(|rec| grad_norm::finish(rec, params, partials, loss_in, stats));
    let got_partials = h.read(partials);
    assert_eq!(got_partials[count].to_bits(), u32::MAX, "wrote past its partial sums");
    // The twin's f64 holds squares that overflow f32.
    let want_partials = to_f32(&want);
    if want_partials.iter().all(|sum| sum.is_finite()) {
        assert_close_scaled("partials", &got_partials, &want_partials, &want_partials, TOLERANCE);
    }
    let got = h.read(stats).try_into().expect("four numbers");
    (got, reference::grad_norm::finish(&params, &want, f64::from(loss), &[0.0; 4]))
}

#[test]
fn norm_and_clipping_are_their_twins() {
    for mut h in Harness::each() {
        let sizes: [&[usize]; 7] =
            [&[4], &[8188], &[8192], &[8196], &[8, 20_000, 4], &[65_540], &[3_000_004, 1024]];
        for (seed, sizes) in sizes.into_iter().enumerate() {
            for (scale, max_grad_norm) in [(1.0, 1.0), (1e-4, 1.0), (1e-4, 0.0), (1e3, 0.3), (1e-15, 1.0)] {
                let buffers: Vec<Vec<f32>> =
                    sizes.iter().map(|&n| h.random(seed as u64, n, -scale, scale)).collect();
                let (got, want) = stats(&mut h, &buffers, 2.5, max_grad_norm);
                let want = to_f32(&want);
                let name = format!("stats of {sizes:?}, scale {scale}, max {max_grad_norm}");
                assert_close_scaled(&name, &got, &want, &want, TOLERANCE);
            }
        }
    }
}

#[test]
fn a_zero_gradient_is_not_clipped() {
    for mut h in Harness::each() {
        let (got, _) = stats(&mut h, &[vec![0.0; 512]], 0.0, 1.0);
        assert_eq!(got, [0.0, 1.0, 1.0, 0.0]);
    }
}

#[test]
fn what_is_not_finite_is_flagged() {
    for mut h in Harness::each() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e25] {
            for at in [0, 8191, 8195, 20_003] {
                for max_grad_norm in [0.0, 1.0] {
                    let mut grad = vec![0.01; 20_004];
                    grad[at] = bad;
                    let (got, _) = stats(&mut h, &[grad], 1.0, max_grad_norm);
                    assert!(!got[0].is_finite(), "{bad} at {at} gives the norm {}", got[0]);
                    assert_eq!(got[1..], [0.0; 3], "{bad} at {at}");
                }
            }
        }
    }
}

#[test]
fn a_loss_that_is_not_finite_is_flagged() {
    for mut h in Harness::each() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (got, want) = stats(&mut h, &[vec![0.5; 4]], bad, 1.0);
            assert_eq!((got, to_f32(&want).as_slice()), ([1.0, 0.0, 0.0, 0.0], &got[..]), "{bad}");
        }
    }
}

#[test]
fn the_same_gradient_has_the_same_norm_to_the_bit() {
    for mut h in Harness::each() {
        let grad = [h.random(9, 100_000, -1.0, 1.0)];
        let (once, _) = stats(&mut h, &grad, 1.0, 1.0);
        let (twice, _) = stats(&mut h, &grad, 1.0, 1.0);
        assert_eq!(once.map(f32::to_bits), twice.map(f32::to_bits));
    }
}

#[test]
fn stats_say_whether_the_step_before_was_applied() {
    for mut h in Harness::each() {
        let stats = h.input(&[0.0; 4]);
        let partials = h.input(&[4.0]);
        let params = FinishParams { count: 1, max_grad_norm: 0.0 };
        let mut want = [0.0; 4];
        for loss in [1.0, f32::NAN, f32::NAN, 1.0, 1.0] {
            let loss_in = h.input(&[loss]);
            h.run(|rec| grad_norm::finish(rec, params, partials, loss_in, stats));
            want = reference::grad_norm::finish(&params, &[4.0], f64::from(loss), &want);
            assert_eq!(h.read(stats), to_f32(&want), "after a loss of {loss}");
        }
    }
}
