//! A bias added to columns, bit for bit, and its gradient.

use tabtune::kernels::bias::{self, Params};
use tabtune::reference;

use crate::harness::{Harness, assert_close_scaled, to_f32, to_f64};

/// Rows, stride, offset, columns.
const SIZES: [[u32; 4]; 5] =
    [[1, 4, 0, 4], [7, 24, 8, 12], [33, 264, 4, 252], [130, 1152, 576, 576], [3, 9_000, 0, 9_000]];

#[test]
fn columns_gain_it_and_the_others_stay() {
    for mut h in Harness::each() {
        for [rows, stride, offset, cols] in SIZES {
            let params = Params { rows, stride, offset, cols };
            let mut values = h.random(1, (rows * stride) as usize, -2.0, 2.0);
            // One more row, that no dispatch may reach, and a value of every kind in the first.
            values.extend(vec![f32::NAN; stride as usize]);
            let poison = [f32::NAN, f32::INFINITY, 0.0, -3e38];
            values[offset as usize..][..4].copy_from_slice(&poison);
            let offsets = h.random(2, cols as usize, -1.0, 1.0);
            let (bias_in, y) = (h.input(&offsets), h.input(&values));
            h.run(|rec| bias::add(rec, params, bias_in, y));

            reference::bias::add(&params, &offsets, &mut values);
            for (i, (got, want)) in h.read(y).into_iter().zip(values).enumerate() {
                assert!(
                    got == want || got.is_nan() && want.is_nan(),
                    "{params:?} [{i}] got {got} want {want}"
                );
            }
        }
    }
}

#[test]
fn its_gradient_is_the_sum_of_its_columns() {
    for mut h in Harness::each() {
        for [rows, stride, offset, cols] in SIZES {
            let params = Params { rows, stride, offset, cols };
            let mut dy = h.random(1, (rows * stride) as usize, -2.0, 2.0);
            // One more row, that no dispatch may reach.
            dy.extend(vec![f32::NAN; stride as usize]);
            let before = h.random(2, cols as usize, -1.0, 1.0);
            let (dy_in, dbias) = (h.input(&dy), h.input(&before));
            h.run(|rec| bias::gradient(rec, params, dy_in, dbias));

            let mut want = to_f64(&before);
            reference::bias::gradient(&params, &to_f64(&dy), &mut want);
            let scales = vec![2.0 * (rows as f32).sqrt(); want.len()];
            let name = format!("dbias {params:?}");
            assert_close_scaled(&name, &h.read(dbias), &to_f32(&want), &scales, 1e-6);
        }
    }
}
