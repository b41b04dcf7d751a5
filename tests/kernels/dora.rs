//! DoRA's kernels against their twins.

use tabtune::format::WeightFormat;
use tabtune::kernels::dora::{self, Backward, Forward, MagnitudeGradient, Norms, Params};
use tabtune::kernels::linear::{self, NONE, Weight};
use tabtune::reference;

use crate::harness::{Harness, assert_close, assert_close_scaled, to_f32, to_f64};

/// Of 1, 2 and 3 stacked layers: rows, the layers' columns, rank, and which layer has no LoRA.
const CASES: [(u32, &[u32], u32, Option<usize>); 5] = [
    (1, &[8], 8, None),
    (7, &[40, 24], 16, None),
    (33, &[64, 8, 136], 8, Some(1)),
    (130, &[576, 192, 192], 24, Some(0)),
    (5, &[9_000], 8, None),
];

/// Params of a case, in rows that other columns share.
fn params((rows, layers, rank, without): (u32, &[u32], u32, Option<usize>)) -> (Params, usize) {
    let cols: u32 = layers.iter().sum();
    let mut params = Params {
        rows,
        cols,
        stride: cols + 24,
        offset: 8,
        rank,
        t_stride: 0,
        add_residual: 0,
        minus: 0.0,
        section_end: [u32::MAX; 4],
        t_offset: [NONE; 4],
        b_base: [0; 4],
        scale: [0.5, 2.0, 0.75, 1.0],
    };
    let (mut end, mut magnitudes) = (0, 0);
    for (index, &width) in layers.iter().enumerate() {
        end += width;
        params.section_end[index] = end;
        if without != Some(index) {
            (params.t_offset[index], params.b_base[index]) = (params.t_stride, magnitudes * rank);
            params.t_stride += rank;
            magnitudes += width;
        }
    }
    (params, magnitudes as usize)
}

#[test]
fn squares_are_those_of_the_rows_of_every_format() {
    for mut h in Harness::each() {
        for format in WeightFormat::ALL {
            let layout = format.layout();
            for (rows, true_depth) in [(8, 64), (40, 256), (24, 1024), (72, 40)] {
                if !usize::is_multiple_of(true_depth, layout.block) {
                    continue;
                }
                let depth = true_depth.next_multiple_of(8);
                let random = |h: &Harness, seed, count, of: fn(u32, usize) -> u32| -> Vec<u32> {
                    let bits = h.random(seed, count, 0.0, 1.0).into_iter().map(|x| (x * 16_777_216.0) as u32);
                    bits.map(|bits| bits.wrapping_mul(2_654_435_761))
                        .enumerate()
                        .map(|(i, bits)| of(bits, i))
                        .collect()
                };
                let values = random(&h, 1, rows * format.row_words(depth), layout.random[0]);
                let scale_words = format.scale_words(rows, true_depth).max(4);
                let scales = random(&h, 2, scale_words, layout.random[1]);
                let params =
                    linear::Params { true_depth: true_depth as u32, ..linear::Params::plain(1, rows, depth) };
                let dense = reference::linear::decode(&params, format, &values, &scales);
                let weight = Weight::new(format, h.input_u32(&values), h.input_u32(&scales));
                let out = h.output(rows);
                h.run(|rec| dora::squares(rec, params, weight, out));
                let want = reference::dora::squares(&params, &to_f64(&dense));
                let name = format!("{format:?} [{rows}, {true_depth}]");
                let want = to_f32(&want);
                let scales: Vec<f32> = want.iter().map(|square| square.max(1e-3)).collect();
                assert_close_scaled(&name, &h.read(out), &want, &scales, 2e-6);
            }
        }
    }
}

#[test]
fn norms_are_their_twin() {
    for mut h in Harness::each() {
        for case in CASES {
            let (params, magnitudes) = params(case);
            let [cols, t] = [params.cols, params.t_stride].map(|size| size as usize);
            // Some rows that the factors take away altogether.
            let squares = h.random(1, cols, -4.0, 60.0);
            let products = h.random(2, t * cols, -1.0, 1.0);
            let gram = h.random(3, t * t, -0.5, 0.5);
            let lora_b = h.random(4, magnitudes * params.rank as usize, -1.0, 1.0);
            let tensors = Norms {
                squares: h.input(&squares),
                products: h.input(&products),
                gram: h.input(&gram),
                lora_b: h.input(&lora_b),
                norms: h.output(magnitudes),
            };
            h.run(|rec| dora::norms(rec, params, tensors));
            let mut want = vec![f64::NAN; magnitudes];
            let [squares, products, gram, lora_b] =
                [&squares, &products, &gram, &lora_b].map(|values| to_f64(values));
            reference::dora::norms(&params, &squares, &products, &gram, &lora_b, &mut want);
            // A root of little is less exact than what it is of.
            let got: Vec<f32> = h.read(tensors.norms).iter().map(|norm| norm * norm).collect();
            let want: Vec<f32> = want.iter().map(|norm| (norm * norm) as f32).collect();
            let scales = vec![60.0 + 8.0 * params.rank as f32; want.len()];
            assert_close_scaled(&format!("{case:?}"), &got, &want, &scales, 1e-6);
        }
    }
}

#[test]
fn columns_are_scaled_as_by_their_twins() {
    for mut h in Harness::each() {
        for case in CASES {
            let (plain, magnitudes) = params(case);
            let rows = plain.rows as usize;
            let (m, mut n) = (h.random(1, magnitudes, -2.0, 2.0), h.random(2, magnitudes, 0.5, 3.0));
            n[magnitudes / 2] = 0.0;
            let z = h.random(3, rows * plain.cols as usize, -2.0, 2.0);
            let beside = h.random(4, rows * plain.stride as usize, -2.0, 2.0);
            let (dy, before) = (h.random(5, beside.len(), -1.0, 1.0), h.random(6, magnitudes, -1.0, 1.0));
            let [magnitudes_in, norms, z_in, dy_in] = [&m, &n, &z, &dy].map(|values| h.input(values));
            let residual = h.input(&beside);
            let [y, sum] = [0; 2].map(|_| h.input(&dy));
            let [dz, less] = [0; 2].map(|_| h.output(z.len()));
            let gradient = h.input(&before);
            let forward = Forward { z: z_in, magnitudes: magnitudes_in, norms, residual: None, y };
            let backward = Backward { dy: dy_in, magnitudes: magnitudes_in, norms, dz };
            let joined = Params { add_residual: 1, ..plain };
            let minus = Params { minus: 1.0, ..plain };
            h.run(|rec| {
                dora::forward(rec, plain, forward);
                dora::forward(rec, joined, Forward { residual: Some(residual), y: sum, ..forward });
                dora::backward(rec, plain, backward);
                dora::backward(rec, minus, Backward { dz: less, ..backward });
                let of_magnitudes = MagnitudeGradient { dy: dy_in, z: z_in, norms, gradient };
                dora::magnitude_gradient(rec, plain, of_magnitudes);
            });

            let [m, n, z, beside, dy] = [&m, &n, &z, &beside, &dy].map(|values| to_f64(values));
            let mut want = dy.clone();
            reference::dora::forward(&plain, &z, (&m, &n), None, &mut want);
            assert_close(&format!("y {case:?}"), &h.read(y), &to_f32(&want), 1e-6);
            let mut want = dy.clone();
            reference::dora::forward(&joined, &z, (&m, &n), Some(&beside), &mut want);
            let scales = vec![10.0; want.len()];
            assert_close_scaled(&format!("y + x {case:?}"), &h.read(sum), &to_f32(&want), &scales, 1e-6);
            for (params, dz) in [(plain, dz), (minus, less)] {
                let want = reference::dora::backward(&params, &dy, &m, &n);
                let scales = vec![5.0; want.len()];
                assert_close_scaled(&format!("dz {case:?}"), &h.read(dz), &to_f32(&want), &scales, 1e-6);
            }
            let mut want = to_f64(&before);
            reference::dora::magnitude_gradient(&plain, &dy, &z, &n, &mut want);
            let scales = vec![4.0 * (rows as f32).sqrt(); want.len()];
            assert_close_scaled(&format!("dm {case:?}"), &h.read(gradient), &to_f32(&want), &scales, 1e-6);
        }
    }
}
