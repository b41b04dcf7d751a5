//! RMSNorm over heads and its gradient against their twins.

use tabtune::kernels::head_norm::{self, Params, Weights};
use tabtune::reference;

use crate::harness::{Harness, assert_close_scaled, to_f32, to_f64};

/// Rows, query heads, key heads, head_dim.
const SIZES: [[u32; 4]; 6] =
    [[1, 1, 1, 4], [3, 6, 2, 12], [7, 1, 0, 64], [17, 16, 8, 128], [5, 4, 1, 256], [13, 5, 3, 68]];

/// f32 sums of up to 256 products, a root and three products.
const TOLERANCE: f32 = 2e-6;

/// Heads with other columns before, between and behind them.
fn params([rows, q_heads, kv_heads, head_dim]: [u32; 4]) -> Params {
    let k_offset = 4 + q_heads * head_dim + 8;
    let stride = (k_offset + 2 * kv_heads * head_dim + 4).next_multiple_of(8);
    Params { rows, stride, q_offset: 4, k_offset, q_heads, kv_heads, head_dim, eps: 1e-5 }
}

/// Random qkv, weights of queries and of keys.
fn values(h: &Harness, params: &Params) -> [Vec<f32>; 3] {
    let dim = params.head_dim as usize;
    let qkv = h.random(1, (params.rows * params.stride) as usize, -3.0, 3.0);
    [qkv, h.random(2, dim, 0.1, 2.0), h.random(3, dim, -2.0, -0.1)]
}

#[test]
fn forward_is_its_twin() {
    for mut h in Harness::teams() {
        for size in SIZES {
            let params = params(size);
            let [qkv, q, k] = values(&h, &params);
            let (qkv_in, weights) = (h.input(&qkv), Weights { q: h.input(&q), k: h.input(&k) });
            // A row more than there are.
            let out = h.output(qkv.len() + params.stride as usize);
            h.run(|rec| head_norm::forward(rec, params, qkv_in, weights, out));

            let want =
                to_f32(&reference::head_norm::forward(&params, &to_f64(&qkv), &to_f64(&q), &to_f64(&k)));
            let scales: Vec<f32> = want.iter().map(|want| want.abs().max(1.0)).collect();
            assert_close_scaled(&format!("out {params:?}"), &h.read(out), &want, &scales, TOLERANCE);
            assert!(h.read_u32(out)[qkv.len()..].iter().all(|&bits| bits == u32::MAX), "{params:?}");
        }
    }
}

#[test]
fn backward_is_its_twin() {
    for mut h in Harness::teams() {
        for size in SIZES {
            let params = params(size);
            let [qkv, q, k] = values(&h, &params);
            let dout = h.random(4, qkv.len(), -2.0, 2.0);
            let (qkv_in, weights) = (h.input(&qkv), Weights { q: h.input(&q), k: h.input(&k) });
            let dqkv = h.input(&dout);
            h.run(|rec| head_norm::backward(rec, params, qkv_in, weights, dqkv));

            let mut want = to_f64(&dout);
            reference::head_norm::backward(&params, &to_f64(&qkv), &to_f64(&q), &to_f64(&k), &mut want);
            // Where a head's terms cancel, the error is one of terms of the size of r · |g|, and r reaches 1 / the
            // least root of a mean square of these values.
            let scales: Vec<f32> =
                want.iter().zip(&dout).map(|(w, g)| (1.0 + w.abs()) as f32 + 4.0 * g.abs()).collect();
            assert_close_scaled(
                &format!("dqkv {params:?}"),
                &h.read(dqkv),
                &to_f32(&want),
                &scales,
                TOLERANCE,
            );
        }
    }
}

#[test]
fn poison_stays_in_its_head_and_zeros_stay_zero() {
    for mut h in Harness::teams() {
        let params = params([2, 2, 1, 8]);
        let [mut qkv, q, k] = values(&h, &params);
        let first = params.q_offset as usize;
        let second = first + 8;
        let (keys, values) = (params.k_offset as usize, params.k_offset as usize + 8);
        qkv[first] = f32::NAN;
        qkv[second..second + 8].fill(0.0);
        qkv[keys..keys + 8].fill(1e15);
        qkv[values] = f32::INFINITY;
        let (qkv_in, weights) = (h.input(&qkv), Weights { q: h.input(&q), k: h.input(&k) });
        let (out, dqkv) = (h.output(qkv.len()), h.input(&vec![1.0; qkv.len()]));
        h.run(|rec| {
            head_norm::forward(rec, params, qkv_in, weights, out);
            head_norm::backward(rec, params, qkv_in, weights, dqkv);
        });
        let (out, dqkv) = (h.read(out), h.read(dqkv));
        for values in [&out, &dqkv] {
            assert!(values[first..second].iter().all(|x| x.is_nan()), "{values:?}");
            assert!(values[second..keys + 8].iter().all(|x| x.is_finite()), "{values:?}");
        }
        assert!(out[second..second + 8].iter().all(|&x| x == 0.0));
        assert!(out[keys..keys + 8].iter().zip(&k).all(|(x, weight)| (x - weight).abs() < 1e-5));
        assert_eq!(out[values], f32::INFINITY);
        assert!(dqkv[values..].iter().take(8).all(|&x| x == 1.0));
    }
}

#[test]
fn the_gradients_of_the_weights_are_their_twins() {
    for mut h in Harness::each() {
        for size in SIZES {
            let params = params(size);
            let [qkv, before, _] = values(&h, &params);
            let dout = h.random(4, qkv.len(), -2.0, 2.0);
            let (qkv_in, dout_in) = (h.input(&qkv), h.input(&dout));
            for of in params.by_weight() {
                // Four values more, which no dispatch may touch.
                let dweight = h.input(&[&before[..], &[7.0; 4]].concat());
                h.run(|rec| head_norm::weight_gradient(rec, of, qkv_in, dout_in, dweight));

                let mut want = to_f64(&before);
                reference::head_norm::weight_gradient(&of, &to_f64(&qkv), &to_f64(&dout), &mut want);
                let got = h.read(dweight);
                assert_eq!(got[before.len()..], [7.0; 4], "{of:?}");
                let scales = vec![8.0 * ((of.rows * of.heads) as f32).sqrt().max(1.0); want.len()];
                let name = format!("dweight {of:?}");
                assert_close_scaled(&name, &got[..before.len()], &to_f32(&want), &scales, TOLERANCE);
            }
        }
    }
}
