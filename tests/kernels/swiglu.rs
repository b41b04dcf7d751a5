//! SwiGLU and its gradient against their twins.

use tabtune::kernels::swiglu::{self, Params};
use tabtune::reference;

use crate::harness::{Harness, assert_close, assert_close_scaled, to_f32, to_f64};

/// Rows, F.
const SIZES: [[u32; 2]; 7] = [[1, 1], [1, 8], [3, 13], [7, 255], [16, 256], [5, 1536], [67, 1031]];

/// One exponential of up to 20, whose relative error WGSL bounds by (3 + 2 · 20) ulp, and products.
const TOLERANCE: f32 = 5e-6;

/// Random gate and up values up to `range` with zeros in the lanes past F.
fn gate_up(h: &Harness, params: &Params, f: u32, range: f32) -> Vec<f32> {
    let half = params.half as usize;
    let mut values = h.random(1, params.rows as usize * 2 * half, -range, range);
    values.chunks_exact_mut(half).for_each(|part| part[f as usize..].fill(0.0));
    values
}

#[test]
fn forward_is_its_twin() {
    let mut h = Harness::new();
    for [rows, f] in SIZES {
        let params = Params { rows, half: f.next_multiple_of(8) };
        let values = gate_up(&h, &params, f, 20.0);
        let (inp, act) = (h.input(&values), h.output(values.len() / 2));
        h.run(|rec| swiglu::forward(rec, params, inp, act));
        let want = to_f32(&reference::swiglu::forward(&params, &to_f64(&values)));
        assert_close(&format!("act {params:?}"), &h.read(act), &want, TOLERANCE);
    }
}

#[test]
fn backward_is_its_twin() {
    let mut h = Harness::new();
    for [rows, f] in SIZES {
        let params = Params { rows, half: f.next_multiple_of(8) };
        let values = gate_up(&h, &params, f, 20.0);
        let dact = h.random(2, values.len() / 2, -1.0, 1.0);
        let (dact_in, inout) = (h.input(&dact), h.input(&values));
        h.run(|rec| swiglu::backward(rec, params, dact_in, inout));
        let mut want = to_f64(&values);
        reference::swiglu::backward(&params, &to_f64(&dact), &mut want);
        assert_close(&format!("gradient {params:?}"), &h.read(inout), &to_f32(&want), TOLERANCE);
    }
}

#[test]
fn saturated_gates_stay_finite() {
    let mut h = Harness::new();
    let params = Params { rows: 1, half: 8 };
    let mut values = vec![-1e4, 1e4, -200.0, 200.0, -1e30, 1e30, 0.0, -30.0];
    values.extend([1.0f32; 8]);
    let (inp, act, dact) = (h.input(&values), h.output(8), h.input(&[1.0; 8]));
    h.run(|rec| {
        swiglu::forward(rec, params, inp, act);
        swiglu::backward(rec, params, dact, inp);
    });
    let want = to_f32(&reference::swiglu::forward(&params, &to_f64(&values)));
    // The smallest normal f32 in the scale: results below it may be flushed to zero.
    let scale = |want: &[f32]| -> Vec<f32> { want.iter().map(|x| x.abs() + 1e-37).collect() };
    // exp(-30) is off by up to 63 ulp.
    assert_close_scaled("act", &h.read(act), &want, &scale(&want), 1e-5);
    let mut want = to_f64(&values);
    reference::swiglu::backward(&params, &[1.0; 8], &mut want);
    let want = to_f32(&want);
    assert_close_scaled("gradient", &h.read(inp), &want, &scale(&want), 1e-5);
}
