//! Stochastic gradient descent against its twin.

use tabtune::kernels::sgd::{self, Hyper, Params, Update};
use tabtune::reference;

use crate::harness::{Harness, assert_close_scaled, to_f32, to_f64};

#[test]
fn ten_steps_are_those_of_the_twin() {
    for mut h in Harness::each() {
        for n in [4usize, 1020, 1028, 100_004] {
            let start = h.random(1, n, -1.0, 1.0);
            let mut want = to_f64(&start);
            // Four elements more, which no step may touch.
            let param = h.input(&[&start[..], &[7.0; 4]].concat());
            for step in 1..=10 {
                let params = Params { n: n as u32, decays: u32::from(step % 4 != 0) };
                let grad = h.random(100 + step, n, -1.0, 1.0);
                // The sixth gradient is not finite.
                let stats = [2.0, 0.5, if step == 6 { 0.0 } else { 1.0 }, 1.0];
                let hyper = Hyper::new(0.1 / step as f64, 0.25);
                let tensors = Update {
                    grad: h.input(&grad),
                    stats: h.input(&stats),
                    hyper: h.input(bytemuck::cast_slice(&[hyper])),
                    param,
                };
                h.run(|rec| sgd::update(rec, params, tensors));
                reference::sgd::update(&params, &to_f64(&grad), &stats.map(f64::from), &hyper, &mut want);
            }
            let got = h.read(param);
            assert_close_scaled("param", &got[..n], &to_f32(&want), &vec![1.0; n], 2e-6);
            assert_eq!(got[n..], [7.0; 4], "param is touched past its end");
        }
    }
}
