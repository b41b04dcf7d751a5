//! Steps along random directions against their twins.

use std::ops::Range;

use tabtune::kernels::mezo::{
    self, FinishParams, Hyper, LossesParams, MAX_SAMPLES, MissesParams, OF_SAMPLE, PerturbParams, Place,
    STATS, Shift, UpdateParams,
};
use tabtune::reference;

use crate::harness::{Harness, assert_close, assert_close_scaled, to_f32, to_f64};

/// A vector, a matrix with padding, and the upper rows of another one, in a buffer that ends with padding.
fn places() -> Vec<Place> {
    vec![
        Place { first: 0, end: 100, stride: 100, cols: 99, stream: 3, ..Place::default() },
        Place { first: 128, end: 128 + 40 * 104, stride: 104, cols: 97, stream: 4, ..Place::default() },
        Place {
            first: 4352,
            end: 4352 + 30 * 64,
            stride: 64,
            cols: 64,
            counter: 160,
            stream: 5,
            ..Place::default()
        },
    ]
}

const N: u32 = 6400;

#[test]
fn parameters_move_along_the_direction_of_the_twin() {
    for mut h in Harness::each() {
        let places = places();
        let places_in = h.input_u32(bytemuck::cast_slice(&places));
        let param = h.random(1, N as usize, -1.0, 1.0);
        let mut run = |shift: Shift, part: Range<u32>, [first_place, end_place]: [u32; 2]| {
            let params = PerturbParams { n: part.len() as u32, first: part.start, first_place, end_place };
            let own = &param[part.start as usize..part.end as usize];
            let shift_in = h.input_u32(bytemuck::cast_slice(&[shift]));
            let (param_in, out) = (h.input(own), h.output(own.len() + 4));
            h.run(|rec| mezo::perturb(rec, params, places_in, shift_in, param_in, out));
            let want = to_f32(&reference::mezo::perturb(&params, &places, &shift, &to_f64(own)));
            let got = h.read(out);
            let bounds = vec![4.0 * shift.scale.abs() + 1.0; own.len()];
            assert_close_scaled("out", &got[..own.len()], &want, &bounds, 1e-6);
            assert!(h.read_u32(out)[own.len()..].iter().all(|&bits| bits == u32::MAX), "past the end");
            got[..own.len()].to_vec()
        };
        for (seed, sample, scale) in [(0, 0, 1.0), (u32::MAX, 7, -1e-3)] {
            let shift = Shift { seed, sample, scale, pad: 0 };
            let got = run(shift, 0..N, [0, 3]);
            // Padding and what lies between matrices is copied.
            let z: Vec<f64> = reference::mezo::direction(N as usize, &places, seed, sample);
            let still = (0..N as usize).filter(|&i| z[i] == 0.0).collect::<Vec<_>>();
            assert!(still.len() > 300 && still.iter().all(|&i| got[i] == param[i]));
            // A part is the same to the bit: a matrix, with what lies before it, and both that follow the vector.
            for (part, its_places) in [(128..4288, [1, 2]), (4320..N, [2, 3]), (100..6272, [1, 3])] {
                let whole = &got[part.start as usize..part.end as usize];
                assert!(run(shift, part.clone(), its_places) == whole, "elements {part:?}");
            }
            assert!(run(Shift { scale: 0.0, ..shift }, 0..N, [0, 3]) == param, "what is not moved");
        }
    }
}

#[test]
fn updates_go_along_all_directions() {
    for mut h in Harness::each() {
        for (samples, decays, finite) in [(1, 1, 1.0), (3, 0, 1.0), (1, 1, 0.0)] {
            let (places, hyper) = (places(), Hyper::new(0.1, 0.5, samples, 77));
            let mut stats = h.random(2, STATS, -2.0, 2.0);
            stats[mezo::STATS_FINITE] = finite;
            let param = h.random(1, N as usize, -1.0, 1.0);
            let params = UpdateParams { n: N, places: places.len() as u32, samples: samples as u32, decays };
            let places_in = h.input_u32(bytemuck::cast_slice(&places));
            let hyper_in = h.input_u32(bytemuck::cast_slice(&[hyper]));
            let (stats_in, param_in) = (h.input(&stats), h.input(&[&param[..], &[7.0; 4]].concat()));
            h.run(|rec| mezo::update(rec, params, places_in, hyper_in, stats_in, param_in));
            let mut want = to_f64(&param);
            let stats = std::array::from_fn(|i| f64::from(stats[i]));
            reference::mezo::update(&params, &places, &hyper, &stats, &mut want);
            let got = h.read(param_in);
            assert_close_scaled("param", &got[..N as usize], &to_f32(&want), &vec![2.0; N as usize], 1e-6);
            assert_eq!(got[N as usize..], [7.0; 4], "past the end");
        }
    }
}

#[test]
fn slopes_are_those_of_the_twin_though_the_losses_are_large() {
    for mut h in Harness::each() {
        for n in [1usize, 64, 1000] {
            let plus = h.random(1, n, 99.0, 101.0);
            let minus: Vec<f32> =
                plus.iter().zip(h.random(2, n, -1e-3, 1e-3)).map(|(plus, more)| plus + more).collect();
            let weight = vec![1.0 / n as f32; n];
            let params = LossesParams { n: n as u32, sample: 1 };
            let finish = FinishParams { samples: 2, distance: 2e-3 };
            let (weight_in, plus_in) = (h.input(&weight), h.input(&plus));
            let (minus_in, sums) = (h.input(&minus), h.input(&[0.0; OF_SAMPLE * MAX_SAMPLES]));
            let stats = h.input(&[0.0; STATS]);
            // Two micro-batches add up.
            h.run(|rec| {
                for _ in 0..2 {
                    mezo::losses(rec, params, weight_in, plus_in, minus_in, sums);
                }
                mezo::finish(rec, finish, sums, stats);
            });
            let mut want = [0.0; OF_SAMPLE * MAX_SAMPLES];
            for _ in 0..2 {
                let [weight, plus, minus] = [&weight, &plus, &minus].map(|values| to_f64(values));
                reference::mezo::losses(&params, &weight, &plus, &minus, &mut want);
            }
            let want = reference::mezo::finish(&finish, &want);
            assert_close("stats", &h.read(stats), &to_f32(&want), 1e-5);
        }
    }
}

#[test]
fn a_loss_that_is_not_finite_is_told() {
    for mut h in Harness::each() {
        for bad in [f32::NAN, f32::INFINITY] {
            let sums = h.input(&[1.0, 2.0, -1.0, 0.0, 1.0, bad, 0.0, 0.0]);
            let stats = h.input(&[1.0; STATS]);
            h.run(|rec| mezo::finish(rec, FinishParams { samples: 2, distance: 0.5 }, sums, stats));
            let got = h.read(stats);
            assert_eq!((got[mezo::STATS_FINITE], &got[4..7]), (0.0, &[1.0, 2.0, -2.0][..]));
            h.run(|rec| mezo::finish(rec, FinishParams { samples: 1, distance: 0.5 }, sums, stats));
            assert_eq!(h.read(stats)[mezo::STATS_FINITE], 1.0);
        }
    }
}

#[test]
fn a_text_is_missed_where_one_of_its_tokens_is() {
    const NONE: u32 = u32::MAX;
    for mut h in Harness::each() {
        let mut starts = vec![NONE; 600];
        // Texts of 1, 2, 7 and 290 tokens, and what fills up a block.
        for (first, last) in [(0, 0), (1, 2), (3, 9), (10, 299)] {
            starts[last] = first;
        }
        for missed in [vec![], vec![0], vec![2, 3], vec![150, 299, 400]] {
            let mut miss = vec![0.0; 600];
            missed.iter().for_each(|&token: &usize| miss[token] = 1.0);
            let want = reference::mezo::misses(&starts, &miss);
            let texts = [0, 2, 9, 299].map(|last| want[last]);
            assert_eq!(texts.iter().sum::<f32>(), [0.0, 1.0, 2.0, 1.0][missed.len()]);
            let (starts, miss, out) = (h.input_u32(&starts), h.input(&miss), h.output(600));
            h.run(|rec| mezo::misses(rec, MissesParams { n: 600 }, starts, miss, out));
            assert_eq!(h.read(out), want);
        }
    }
}
