//! Twin of [`crate::kernels::head_norm`].

use std::ops::Range;

use num_traits::Float;

use super::rms_norm;
use crate::kernels::head_norm::{Params, WeightParams};
use crate::kernels::rms_norm::Params as Row;

/// Where each query and key head of all rows lies, with its weight.
fn heads<'a, F>(
    params: &Params,
    q_weight: &'a [F],
    k_weight: &'a [F],
) -> impl Iterator<Item = (Range<usize>, &'a [F])> {
    let Params { rows, stride, q_offset, k_offset, q_heads, kv_heads, head_dim, .. } = *params;
    (0..rows).flat_map(move |row| {
        let head = move |offset: u32, head: u32| {
            let start = (row * stride + offset + head * head_dim) as usize;
            start..start + head_dim as usize
        };
        let queries = (0..q_heads).map(move |number| (head(q_offset, number), q_weight));
        queries.chain((0..kv_heads).map(move |number| (head(k_offset, number), k_weight)))
    })
}

/// A head as the one row of a norm.
fn row(params: &Params) -> Row {
    Row { rows: 1, cols: params.head_dim, stride: params.head_dim, eps: params.eps }
}

/// Returns `out` [rows, stride].
pub fn forward<F: Float>(params: &Params, qkv: &[F], q_weight: &[F], k_weight: &[F]) -> Vec<F> {
    let mut out = qkv.to_vec();
    for (head, weight) in heads(params, q_weight, k_weight) {
        let (normed, _) = rms_norm::forward(&row(params), &qkv[head.clone()], weight, None);
        out[head].copy_from_slice(&normed);
    }
    out
}

/// Replaces the gradient of [`forward`]'s output by that of its input.
pub fn backward<F: Float>(params: &Params, qkv: &[F], q_weight: &[F], k_weight: &[F], dqkv: &mut [F]) {
    for (head, weight) in heads(params, q_weight, k_weight) {
        let inp = &qkv[head.clone()];
        let (_, rstd) = rms_norm::forward(&row(params), inp, weight, None);
        let dinp = rms_norm::backward(&row(params), &dqkv[head.clone()], inp, weight, &rstd, None);
        dqkv[head].copy_from_slice(&dinp);
    }
}

/// Adds the gradient of the weight of some heads to `dweight` [head_dim].
pub fn weight_gradient<F: Float>(params: &WeightParams, qkv: &[F], dout: &[F], dweight: &mut [F]) {
    let WeightParams { rows, stride, offset, heads, head_dim, eps } = *params;
    let row = Row { rows: 1, cols: head_dim, stride: head_dim, eps };
    for start in (0..rows).flat_map(|row| (0..heads).map(move |head| row * stride + offset + head * head_dim))
    {
        let head = start as usize..(start + head_dim) as usize;
        let (_, rstd) = rms_norm::forward(&row, &qkv[head.clone()], dweight, None);
        rms_norm::weight_gradient(&row, &dout[head.clone()], &qkv[head], &rstd, dweight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::finite_difference::check_gradient;

    const PARAMS: Params = Params {
        rows: 2,
        stride: 28,
        q_offset: 4,
        k_offset: 16,
        q_heads: 2,
        kv_heads: 1,
        head_dim: 4,
        eps: 1e-2,
    };

    fn wave(n: usize, step: f64) -> Vec<f64> {
        (0..n).map(|i| (1.0 + i as f64 * step).sin()).collect()
    }

    #[test]
    fn heads_have_a_mean_square_of_one_and_other_columns_stay() {
        let (qkv, ones) = (wave(56, 0.7), [1.0; 4]);
        let out = forward(&Params { eps: 0.0, ..PARAMS }, &qkv, &ones, &ones);
        for row in 0..2 {
            for column in [4, 8, 16] {
                let squares: f64 = out[row * 28 + column..][..4].iter().map(|x| x * x).sum();
                assert!((squares / 4.0 - 1.0).abs() < 1e-14, "row {row}, the head in column {column}");
            }
            for column in (0..4).chain(12..16).chain(20..28) {
                assert_eq!(out[row * 28 + column], qkv[row * 28 + column], "row {row} column {column}");
            }
        }
    }

    #[test]
    fn backward_is_the_gradient() {
        let (qkv, dout) = (wave(56, 0.7), wave(56, 1.3));
        let (q_weight, k_weight) = (wave(4, 1.9), wave(4, 0.4));
        let loss = |qkv: &[f64]| -> f64 {
            forward(&PARAMS, qkv, &q_weight, &k_weight).iter().zip(&dout).map(|(y, g)| y * g).sum()
        };
        let mut gradient = dout.clone();
        backward(&PARAMS, &qkv, &q_weight, &k_weight, &mut gradient);
        check_gradient(loss, &qkv, &gradient, 1e-8);

        let [of_queries, of_keys] = PARAMS.by_weight().map(|params| {
            let mut dweight = vec![0.0; 4];
            weight_gradient(&params, &qkv, &dout, &mut dweight);
            dweight
        });
        let dot = |out: Vec<f64>| -> f64 { out.iter().zip(&dout).map(|(y, g)| y * g).sum() };
        check_gradient(|q: &[f64]| dot(forward(&PARAMS, &qkv, q, &k_weight)), &q_weight, &of_queries, 1e-8);
        check_gradient(|k: &[f64]| dot(forward(&PARAMS, &qkv, &q_weight, k)), &k_weight, &of_keys, 1e-8);
    }
}
