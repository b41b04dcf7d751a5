//! Gated linear units and their gradient against their twins.

use tabtune::kernels::glu::{self, Act, Params};
use tabtune::reference;

use crate::harness::{Harness, assert_close, assert_close_scaled, to_f32, to_f64};

/// Rows, F.
const SIZES: [[u32; 2]; 7] = [[1, 1], [1, 8], [3, 13], [7, 255], [16, 256], [5, 1540], [67, 1031]];

/// One exponential of up to 20, whose relative error WGSL bounds by (3 + 2 · 20) ulp, and products.
const TOLERANCE: f32 = 5e-6;

/// Random gate and up values up to `range` with zeros in the lanes past F.
fn gate_up(h: &Harness, params: &Params, f: u32, range: f32) -> Vec<f32> {
    let [stride, up] = [params.stride as usize, params.up as usize];
    let mut values = h.random(1, params.rows as usize * stride, -range, range);
    for row in values.chunks_exact_mut(stride) {
        let (gate, behind) = row.split_at_mut(up);
        [gate, behind].into_iter().for_each(|part| part[f as usize..].fill(0.0));
    }
    values
}

/// Every activation at every size, with random values and a gradient.
fn cases(h: &Harness) -> Vec<(Act, Params, Vec<f32>, Vec<f32>)> {
    let case = |act, [rows, f]: [u32; 2]| {
        let mut params = Params::padded(rows, f.next_multiple_of(8));
        // As Phi has them: up follows gate at once, at any column.
        if f > 200 {
            params = Params { width: f, up: f, stride: (2 * f).next_multiple_of(8), ..params };
        }
        let values = gate_up(h, &params, f, 20.0);
        let dout = h.random(2, (rows * params.cols) as usize, -1.0, 1.0);
        (act, params, values, dout)
    };
    Act::ALL.into_iter().flat_map(|act| SIZES.map(|size| case(act, size))).collect()
}

#[test]
fn forward_is_its_twin() {
    for mut h in Harness::each() {
        for (act, params, values, _) in cases(&h) {
            let (inp, out) = (h.input(&values), h.output((params.rows * params.cols) as usize));
            h.run(|rec| glu::forward(rec, act, params, inp, out));
            let want = to_f32(&reference::glu::forward(act, &params, &to_f64(&values)));
            assert_close(&format!("{act:?} {params:?}"), &h.read(out), &want, TOLERANCE);
        }
    }
}

#[test]
fn backward_is_its_twin() {
    for mut h in Harness::each() {
        for (act, params, values, dout) in cases(&h) {
            let (dout_in, inout) = (h.input(&dout), h.input(&values));
            h.run(|rec| glu::backward(rec, act, params, dout_in, inout));
            let mut want = to_f64(&values);
            reference::glu::backward(act, &params, &to_f64(&dout), &mut want);
            assert_close(&format!("gradient {act:?} {params:?}"), &h.read(inout), &to_f32(&want), TOLERANCE);
        }
    }
}

#[test]
fn saturated_gates_stay_finite() {
    for mut h in Harness::each() {
        let params = Params::padded(1, 16);
        let gates = [
            -1e4, 1e4, -200.0, 200.0, -1e30, 1e30, 0.0, -30.0, 3e38, -3e38, 15.9, -15.9, 16.1, -16.1, 30.0,
            -0.0,
        ];
        let values: Vec<f32> = gates.into_iter().chain([1.0f32; 16]).collect();
        for act in Act::ALL {
            let (inp, out, dout) = (h.input(&values), h.output(16), h.input(&[1.0; 16]));
            h.run(|rec| {
                glu::forward(rec, act, params, inp, out);
                glu::backward(rec, act, params, dout, inp);
            });
            let want = to_f32(&reference::glu::forward(act, &params, &to_f64(&values)));
            // The smallest normal f32 in the scale: results below it may be flushed to zero.
            let scale = |want: &[f32]| -> Vec<f32> { want.iter().map(|x| x.abs() + 1e-37).collect() };
            // exp(-30) is off by up to 63 ulp.
            assert_close_scaled(&format!("{act:?}"), &h.read(out), &want, &scale(&want), 1e-5);
            let mut want = to_f64(&values);
            reference::glu::backward(act, &params, &[1.0; 16], &mut want);
            let want = to_f32(&want);
            assert_close_scaled(&format!("gradient {act:?}"), &h.read(inp), &want, &scale(&want), 1e-5);
        }
    }
}

#[test]
fn nan_stays_in_its_lane() {
    for mut h in Harness::each() {
        let params = Params::padded(1, 8);
        let mut values = vec![1.0f32; 16];
        values[2] = f32::NAN;
        for act in Act::ALL {
            let (inp, out, dout) = (h.input(&values), h.output(8), h.input(&[1.0; 8]));
            h.run(|rec| {
                glu::forward(rec, act, params, inp, out);
                glu::backward(rec, act, params, dout, inp);
            });
            let nans = |values: Vec<f32>| -> Vec<usize> {
                (0..values.len()).filter(|&i| values[i].is_nan()).collect()
            };
            assert_eq!(nans(h.read(out)), [2], "{act:?}");
            // Whether the gradient of a gate that is NaN is NaN too is left open; that of its up value is.
            let of_gradient = nans(h.read(inp));
            assert!(of_gradient == [2, 10] || of_gradient == [10], "gradient of {act:?}: {of_gradient:?}");
        }
    }
}
