//! RMSNorm over each head of the queries and keys, and its gradient.

use core::ops::Range;

use crate::args::Args;
use crate::lanes::{map, part, rows_together, sum, update};
use crate::params::head_norm::{Params, WeightParams};
use crate::rms_norm::rstd;
use crate::simd::Vector;
use crate::table::Kernel;

fn tasks(args: &Args) -> u32 {
    let params: Params = args.params();
    params.rows.div_ceil(rows_together(params.stride))
}

/// The columns of head `number` of a row, queries before keys, and whether it is a query.
fn head(params: &Params, number: u32) -> (Range<usize>, bool) {
    let is_query = number < params.q_heads;
    let start = match is_query {
        true => params.q_offset + number * params.head_dim,
        false => params.k_offset + (number - params.q_heads) * params.head_dim,
    };
    (start as usize..(start + params.head_dim) as usize, is_query)
}

/// Operands: qkv [rows, stride], q_weight [head_dim], k_weight [head_dim], out [rows, stride].
pub struct Forward;

impl Kernel for Forward {
    fn tasks(args: &Args) -> u32 {
        tasks(args)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let stride = params.stride as usize;
        let q_end = params.q_offset + params.q_heads * params.head_dim;
        let k_end = params.k_offset + params.kv_heads * params.head_dim;
        let others = [(0, params.q_offset), (q_end, params.k_offset), (k_end, params.stride)];
        for row in part(task, rows_together(params.stride), params.rows) {
            let qkv = &args.input(0)[row * stride..(row + 1) * stride];
            // SAFETY: Rows of tasks are disjoint.
            let out = unsafe { args.output(3).slice(row * stride..(row + 1) * stride) };
            for number in 0..params.q_heads + params.kv_heads {
                let (own, is_query) = head(&params, number);
                let weight = args.input(if is_query { 1 } else { 2 });
                let (inp, out) = (&qkv[own.clone()], &mut out[own]);
                let scale = V::splat(rstd::<V>(inp, params.head_dim, params.eps));
                map([inp, weight], out, |[x, weight]: [V; 2]| weight * (x * scale));
            }
            for (start, end) in others {
                let own = start as usize..end as usize;
                out[own.clone()].copy_from_slice(&qkv[own]);
            }
        }
    }
}

/// Operands: qkv [rows, stride], q_weight [head_dim], k_weight [head_dim], dqkv [rows, stride], in place.
pub struct Backward;

impl Kernel for Backward {
    fn tasks(args: &Args) -> u32 {
        tasks(args)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let stride = params.stride as usize;
        for row in part(task, rows_together(params.stride), params.rows) {
            let qkv = &args.input(0)[row * stride..(row + 1) * stride];
            // SAFETY: Rows of tasks are disjoint.
            let dqkv = unsafe { args.output(3).slice(row * stride..(row + 1) * stride) };
            for number in 0..params.q_heads + params.kv_heads {
                let (own, is_query) = head(&params, number);
                let weight = args.input(if is_query { 1 } else { 2 });
                let (inp, gradient) = (&qkv[own.clone()], &mut dqkv[own]);
                let rstd = rstd::<V>(inp, params.head_dim, params.eps);
                let products = sum([&*gradient, weight, inp], |sum: V, [gradient, weight, x]| {
                    (gradient * weight).mul_add(x, sum)
                });
                let mean = V::splat(products * rstd / params.head_dim as f32);
                let scale = V::splat(rstd);
                update([gradient], [weight, inp], |[gradient], [weight, x]: [V; 2]| {
                    [scale * (gradient * weight - x * scale * mean)]
                });
            }
        }
    }
}

/// Operands: qkv [rows, stride], dout [rows, stride], dweight [head_dim].
pub struct WeightGradient;

impl Kernel for WeightGradient {
    fn tasks(_: &Args) -> u32 {
        1
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, _: u32, _: &mut [f32]) {
        let WeightParams { rows, stride, offset, heads, head_dim, eps } = args.params();
        // SAFETY: There is one task.
        let sums = unsafe { args.output(2).slice(0..head_dim as usize) };
        for row in 0..rows {
            for head in 0..heads {
                let start = (row * stride + offset + head * head_dim) as usize;
                let own = start..start + head_dim as usize;
                let (inp, dout) = (&args.input(0)[own.clone()], &args.input(1)[own]);
                let scale = V::splat(rstd::<V>(inp, head_dim, eps));
                update([&mut *sums], [dout, inp], |[sum], [dout, x]: [V; 2]| [dout.mul_add(x * scale, sum)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, run};

    #[test]
    fn heads_and_their_gradients_are_those_of_f64_and_other_columns_stay() {
        for (rows, head_dim, gap) in [(1, 4, 4), (3, 12, 8), (7, 64, 0), (65, 80, 12), (2, 256, 4)] {
            let k_offset = gap + 3 * head_dim + gap;
            let stride = k_offset + 2 * head_dim + head_dim + gap;
            let params = Params {
                rows,
                stride,
                q_offset: gap,
                k_offset,
                q_heads: 3,
                kv_heads: 2,
                head_dim,
                eps: 1e-3,
            };
            let (rows, dim, stride) = (rows as usize, head_dim as usize, stride as usize);
            let (qkv, dout) = (random(1, rows * stride), random(2, rows * stride));
            let weights = [random(3, dim), random(4, dim)];
            let mut want: Vec<f64> = qkv.iter().map(|&x| f64::from(x)).collect();
            let mut gradient: Vec<f64> = dout.iter().map(|&x| f64::from(x)).collect();
            for (row, number) in (0..rows).flat_map(|row| (0..5).map(move |number| (row, number))) {
                let (own, is_query) = head(&params, number);
                let at = |i: usize| row * stride + own.start + i;
                let weight = |i: usize| f64::from(weights[usize::from(!is_query)][i]);
                let x = |i: usize| f64::from(qkv[at(i)]);
                let g = |i: usize| f64::from(dout[at(i)]) * weight(i);
                let mean = |f: &dyn Fn(usize) -> f64| (0..dim).map(f).sum::<f64>() / dim as f64;
                let rstd = 1.0 / (mean(&|i| x(i) * x(i)) + f64::from(params.eps)).sqrt();
                let product = mean(&|i| g(i) * x(i) * rstd);
                for i in 0..dim {
                    want[at(i)] = weight(i) * x(i) * rstd;
                    gradient[at(i)] = rstd * (g(i) - x(i) * rstd * product);
                }
            }
            let (nan, norms) = (vec![f32::NAN; rows * stride], vec![1.0; rows * stride]);
            let [q_weight, k_weight] = &weights;
            for got in run("head_norm_forward", &params, &[&qkv, q_weight, k_weight, &nan]) {
                assert_close("out", &got[3], &want, &norms, 2e-6);
            }
            for got in run("head_norm_backward", &params, &[&qkv, q_weight, k_weight, &dout]) {
                assert_close("dqkv", &got[3], &gradient, &norms, 1e-5);
            }
            for (first, heads, offset, before) in [(0, 3, gap, q_weight), (3, 2, k_offset, k_weight)] {
                let of = WeightParams {
                    rows: rows as u32,
                    stride: stride as u32,
                    offset,
                    heads,
                    head_dim,
                    eps: 1e-3,
                };
                let mut want: Vec<f64> = before.iter().map(|&x| f64::from(x)).collect();
                for (row, number) in
                    (0..rows).flat_map(|row| (first..first + heads).map(move |number| (row, number)))
                {
                    let at = row * stride + head(&params, number).0.start;
                    let x = |i: usize| f64::from(qkv[at + i]);
                    let mean = (0..dim).map(|i| x(i) * x(i)).sum::<f64>() / dim as f64;
                    let rstd = 1.0 / (mean + 1e-3f32 as f64).sqrt();
                    want.iter_mut()
                        .enumerate()
                        .for_each(|(i, sum)| *sum += f64::from(dout[at + i]) * x(i) * rstd);
                }
                let norms = vec![(rows * heads as usize) as f64; dim];
                for got in run("head_norm_weight_gradient", &of, &[&qkv, &dout, before]) {
                    assert_close("dweight", &got[2], &want, &norms, 1e-5);
                }
            }
        }
    }
}
