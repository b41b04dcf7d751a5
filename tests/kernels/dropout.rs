//! Dropout against its twin, whose mask it must share to the bit.

use tabtune::kernels::dropout::{self, Params};
use tabtune::reference;

use crate::harness::{Harness, assert_close};

#[test]
fn forward_and_backward_are_their_twins() {
    for mut h in Harness::each() {
        for n in [4u32, 1020, 1024, 1028, 40_000] {
            for (probability, stream, seed) in [(0.05, 0, 0), (0.5, 7, 1), (0.9, u32::MAX, u32::MAX)] {
                let params = Params::new(n, stream, probability);
                let [inp, dout, dinp] = [1, 2, 3].map(|seed| h.random(seed, n as usize, 0.5, 1.0));
                let (seed_in, inp_in, dout_in) = (h.input_u32(&[seed]), h.input(&inp), h.input(&dout));
                let (out, dinp_in) = (h.output(n as usize + 4), h.input(&dinp));
                h.run(|rec| {
                    dropout::forward(rec, params, seed_in, inp_in, out);
                    dropout::backward_add(rec, params, seed_in, dout_in, dinp_in);
                });

                let name = format!("{params:?} seed {seed}");
                let want = reference::dropout::forward(&params, seed, &inp);
                // One product.
                assert_close(&format!("out {name}"), &h.read(out), &want, 1.2e-7);
                assert!(h.read_u32(out)[n as usize..].iter().all(|&bits| bits == u32::MAX), "past the end");
                let mut want = dinp;
                reference::dropout::backward_add(&params, seed, &dout, &mut want);
                assert_close(&format!("dinp {name}"), &h.read(dinp_in), &want, 1.2e-7);
            }
        }
    }
}

#[test]
fn zero_probability_is_the_identity() {
    for mut h in Harness::each() {
        let inp = h.random(4, 2048, -3.0, 3.0);
        let (seed, inp_in, out) = (h.input_u32(&[3]), h.input(&inp), h.output(2048));
        h.run(|rec| dropout::forward(rec, Params::new(2048, 1, 0.0), seed, inp_in, out));
        assert_eq!(h.read(out), inp);
    }
}

#[test]
fn what_is_dropped_does_not_leak() {
    for mut h in Harness::each() {
        let params = Params::new(256, 2, 0.5);
        let kept = reference::dropout::mask(&params, 6);
        let inp: Vec<f32> = kept.iter().map(|&kept| if kept { 1.0 } else { f32::NAN }).collect();
        let (seed, inp, out) = (h.input_u32(&[6]), h.input(&inp), h.output(256));
        h.run(|rec| dropout::forward(rec, params, seed, inp, out));
        let want: Vec<f32> = kept.iter().map(|&kept| if kept { 2.0 } else { 0.0 }).collect();
        assert_eq!(h.read(out), want);
    }
}
