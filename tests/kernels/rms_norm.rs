//! RMSNorm and its gradient against their twins.

use tabtune::kernels::rms_norm::{self, Backward, Forward, Params};
use tabtune::reference;

use crate::harness::{Harness, assert_close, assert_close_scaled, to_f32, to_f64};

/// Rows, columns. The last needs more rows than one dimension of a grid holds.
const SIZES: [[u32; 2]; 10] =
    [[1, 1], [3, 7], [5, 64], [13, 255], [8, 256], [9, 257], [2, 576], [17, 2050], [1, 8192], [65_537, 5]];

/// f32 sums of up to 8192 products in 64 strided chains, a root and three products.
const TOLERANCE: f32 = 2e-6;

fn params([rows, cols]: [u32; 2]) -> Params {
    Params { rows, cols, stride: cols.next_multiple_of(8), eps: 1e-5 }
}

/// Random rows, zero in the lanes past the width.
fn padded(h: &Harness, params: &Params, seed: u64, rows: u32, low: f32, high: f32) -> Vec<f32> {
    let mut values = h.random(seed, (rows * params.stride) as usize, low, high);
    for row in values.chunks_exact_mut(params.stride as usize) {
        row[params.cols as usize..].fill(0.0);
    }
    values
}

#[test]
fn forward_is_its_twin() {
    for mut h in Harness::teams() {
        for size in SIZES {
            let params = params(size);
            let [inp, beside] = [1, 8].map(|seed| padded(&h, &params, seed, params.rows, -3.0, 3.0));
            let weight = padded(&h, &params, 2, 1, 0.1, 2.0);
            let (out, rstd) = (h.output(inp.len()), h.output(params.rows as usize));
            let (inp_in, weight_in) = (h.input(&inp), h.input(&weight));
            let plain = Forward { inp: inp_in, weight: weight_in, residual: None, out, rstd };
            let residual = Some(h.input(&beside));
            let joined = Forward { residual, out: h.output(inp.len()), ..plain };
            h.run(|rec| {
                rms_norm::forward(rec, params, plain);
                rms_norm::forward(rec, params, joined);
            });

            let [inp, weight, beside] = [&inp, &weight, &beside].map(|values| to_f64(values));
            let (want, want_rstd) = reference::rms_norm::forward(&params, &inp, &weight, None);
            assert_close(&format!("out {params:?}"), &h.read(out), &to_f32(&want), TOLERANCE);
            assert_close(&format!("rstd {params:?}"), &h.read(rstd), &to_f32(&want_rstd), TOLERANCE);
            let scales: Vec<f32> = want.iter().map(|normed| (1.0 + normed.abs()) as f32).collect();
            let (want, _) = reference::rms_norm::forward(&params, &inp, &weight, Some(&beside));
            let name = format!("out with a residual {params:?}");
            assert_close_scaled(&name, &h.read(joined.out), &to_f32(&want), &scales, TOLERANCE);
        }
    }
}

#[test]
fn forward_of_huge_tiny_and_zero_rows() {
    for mut h in Harness::teams() {
        let params = params([3, 96]);
        let mut inp = padded(&h, &params, 3, 3, 0.5, 1.0);
        inp[..96].iter_mut().for_each(|x| *x *= 1e15);
        inp[96..192].iter_mut().for_each(|x| *x *= 1e-12);
        inp[192..].fill(0.0);
        let weight = vec![1.0; 96];
        let (out, rstd) = (h.output(inp.len()), h.output(3));
        let tensors = Forward { inp: h.input(&inp), weight: h.input(&weight), residual: None, out, rstd };
        h.run(|rec| rms_norm::forward(rec, params, tensors));

        let (want, want_rstd) = reference::rms_norm::forward(&params, &to_f64(&inp), &to_f64(&weight), None);
        let (want, want_rstd) = (to_f32(&want), to_f32(&want_rstd));
        assert_close_scaled("out", &h.read(out), &want, &want, TOLERANCE);
        assert_close_scaled("rstd", &h.read(rstd), &want_rstd, &want_rstd, TOLERANCE);
    }
}

#[test]
fn backward_is_its_twin() {
    for mut h in Harness::teams() {
        for size in SIZES {
            let params = params(size);
            let [inp, dout, dresidual] =
                [4, 5, 6].map(|seed| padded(&h, &params, seed, params.rows, -2.0, 2.0));
            let weight = padded(&h, &params, 7, 1, 0.1, 2.0);
            let (_, rstd) = reference::rms_norm::forward(&params, &to_f64(&inp), &to_f64(&weight), None);
            let tensors = Backward {
                dout: h.input(&dout),
                inp: h.input(&inp),
                weight: h.input(&weight),
                rstd: h.input(&to_f32(&rstd)),
                dresidual: Some(h.input(&dresidual)),
                dinp: h.output(inp.len()),
            };
            let plain = Backward { dresidual: None, dinp: h.output(inp.len()), ..tensors };
            h.run(|rec| {
                rms_norm::backward(rec, params, tensors);
                rms_norm::backward(rec, params, plain);
            });

            let [inp, dout, dresidual, weight] =
                [&inp, &dout, &dresidual, &weight].map(|values| to_f64(values));
            for (tensors, dresidual) in [(tensors, Some(&dresidual[..])), (plain, None)] {
                let want = reference::rms_norm::backward(&params, &dout, &inp, &weight, &rstd, dresidual);
                // Rows of one column cancel: their gradient is a difference of terms of size rstd · |g|.
                let scales: Vec<f32> = (0..want.len())
                    .map(|i| {
                        let g = dout[i] * weight[i % params.stride as usize];
                        (1.0 + want[i].abs() + rstd[i / params.stride as usize] * g.abs()) as f32
                    })
                    .collect();
                let name = format!("dinp {params:?}, residual: {}", dresidual.is_some());
                assert_close_scaled(&name, &h.read(tensors.dinp), &to_f32(&want), &scales, TOLERANCE);
            }
        }
    }
}

#[test]
fn the_gradient_of_the_weight_is_its_twin() {
    for mut h in Harness::each() {
        for size in SIZES {
            let params = params(size);
            let [inp, dout] = [4, 5].map(|seed| padded(&h, &params, seed, params.rows, -2.0, 2.0));
            let rstd = h.random(6, params.rows as usize, 0.1, 2.0);
            let before = padded(&h, &params, 7, 1, -1.0, 1.0);
            // Four values more, which no dispatch may touch.
            let dweight = h.input(&[&before[..], &[7.0; 4]].concat());
            let (dout_in, inp_in, rstd_in) = (h.input(&dout), h.input(&inp), h.input(&rstd));
            h.run(|rec| rms_norm::weight_gradient(rec, params, dout_in, inp_in, rstd_in, dweight));

            let [inp, dout, rstd, mut want] = [&inp, &dout, &rstd, &before].map(|values| to_f64(values));
            reference::rms_norm::weight_gradient(&params, &dout, &inp, &rstd, &mut want);
            let got = h.read(dweight);
            assert_eq!(got[before.len()..], [7.0; 4], "{params:?}");
            let scales = vec![8.0 * (params.rows as f32).sqrt(); want.len()];
            let name = format!("dweight {params:?}");
            assert_close_scaled(&name, &got[..before.len()], &to_f32(&want), &scales, TOLERANCE);
        }
    }
}

#[test]
fn rows_past_the_end_are_left_alone() {
    for mut h in Harness::teams() {
        let params = params([2, 24]);
        let inp = h.input(&vec![f32::NAN; 5 * 24]);
        let live = h.input(&[1.0; 2 * 24]);
        let (weight, out, rstd) = (h.input(&[1.0; 24]), h.output(5 * 24), h.output(8));
        let tensors = Forward { inp, weight, residual: Some(inp), out, rstd };
        h.run(|rec| {
            rec.copy(live, inp.slice(0, live.size()));
            rms_norm::forward(rec, params, tensors);
        });
        assert!(h.read(out)[..48].iter().all(|x| (x - 2.0).abs() < 1e-5));
        assert!(h.read_u32(out)[48..].iter().chain(&h.read_u32(rstd)[2..]).all(|&bits| bits == u32::MAX));
    }
}
