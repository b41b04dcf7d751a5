//! AdamW against its twin.

use tabtune::kernels::adamw::{self, Hyper, Options, Params, Update};
use tabtune::memory::Tensor;
use tabtune::reference;

use crate::harness::{Harness, assert_close_scaled, to_f32, to_f64};

const OPTIONS: Options =
    Options { adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-8, weight_decay: 0.1 };

fn hyper_input(h: &mut Harness, hyper: &[Hyper; 2]) -> Tensor {
    h.input(bytemuck::cast_slice(hyper))
}

#[test]
fn ten_steps_are_those_of_the_twin() {
    for mut h in Harness::each() {
        for n in [4usize, 1020, 1024, 1028, 100_004] {
            let mut params = Params { n: n as u32, decays: 1 };
            let start = h.random(1, n, -1.0, 1.0);
            let (mut param, mut m, mut v) = (to_f64(&start), vec![0.0; n], vec![0.0; n]);
            // Four elements more, which no step may touch.
            let longer = |values: &[f32]| [values, &[7.0; 4]].concat();
            let param_in = h.input(&longer(&start));
            let (m_in, v_in) = (h.input(&longer(&vec![0.0; n])), h.input(&longer(&vec![0.0; n])));
            for step in 1..=10 {
                params.decays = u32::from(step % 4 != 0);
                let mut grad = h.random(100 + u64::from(step), n, -1e-2, 1e-2);
                grad[0] = 0.0;
                grad[1] *= 1e-6;
                // Now the step before was applied, now it was not, which decides between two updates.
                let stats = [2.0, 0.5, 1.0, f32::from(u8::from(step % 3 == 0))];
                let hyper =
                    [step, step + 5].map(|step| Hyper::at_step(&OPTIONS, 2e-3 / f64::from(step), step));
                let tensors = Update {
                    grad: h.input(&longer(&grad)),
                    stats: h.input(&stats),
                    hyper: hyper_input(&mut h, &hyper),
                    param: param_in,
                    m: m_in,
                    v: v_in,
                };
                h.run(|rec| adamw::update(rec, params, tensors));
                let stats = stats.map(f64::from);
                let grad = to_f64(&grad);
                reference::adamw::update(&params, &grad, &stats, &hyper, &mut param, &mut m, &mut v);
            }
            // Ten updates of f32 values, each a handful of roundings; m cancels, so its scale is that of
            // its terms.
            let (want, want_m, want_v) = (to_f32(&param), to_f32(&m), to_f32(&v));
            let within =
                |want: &[f32], floor: f32| -> Vec<f32> { want.iter().map(|x| x.abs() + floor).collect() };
            let (got, got_m, got_v) = (h.read(param_in), h.read(m_in), h.read(v_in));
            assert_close_scaled("param", &got, &want, &within(&want, 1e-2), 2e-6);
            assert_close_scaled("m", &got_m, &want_m, &within(&want_m, 5e-3), 2e-6);
            assert_close_scaled("v", &got_v, &want_v, &within(&want_v, 0.0), 4e-6);
            for (name, got) in [("param", got), ("m", got_m), ("v", got_v)] {
                assert_eq!(got[n..n + 4], [7.0; 4], "{name} is touched past its end");
            }
        }
    }
}

#[test]
fn a_gradient_that_is_not_finite_changes_nothing() {
    for mut h in Harness::each() {
        let [start, m, v] = [1, 2, 3].map(|seed| h.random(seed, 64, 0.1, 1.0));
        let hyper = [Hyper::at_step(&OPTIONS, 1e-3, 1); 2];
        let tensors = Update {
            grad: h.input(&[f32::NAN; 64]),
            stats: h.input(&[f32::NAN, 0.0, 0.0, 0.0]),
            hyper: hyper_input(&mut h, &hyper),
            param: h.input(&start),
            m: h.input(&m),
            v: h.input(&v),
        };
        h.run(|rec| adamw::update(rec, Params { n: 64, decays: 1 }, tensors));
        assert_eq!((h.read(tensors.param), h.read(tensors.m), h.read(tensors.v)), (start, m, v));
    }
}
