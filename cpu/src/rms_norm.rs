//! RMSNorm and its gradient, each joined with the residual's where there is one.

use core::marker::PhantomData;

use crate::args::Args;
use crate::lanes::{COLUMNS, map, part, rows_together, sum, update};
use crate::params::rms_norm::Params;
use crate::simd::Vector;
use crate::table::Kernel;

/// Whether there is a residual, the last operand.
pub trait Residual {
    const IS_THERE: bool;
}

pub struct Plain;
pub struct WithResidual;

impl Residual for Plain {
    const IS_THERE: bool = false;
}

impl Residual for WithResidual {
    const IS_THERE: bool = true;
}

/// 1 / √(mean x² + eps), with the mean over `width` values; those of `x` past them are zero.
#[inline(always)]
pub fn rstd<V: Vector>(x: &[f32], width: u32, eps: f32) -> f32 {
    let squares = sum([x], |sum: V, [x]| x.mul_add(x, sum));
    1.0 / V::splat(squares / width as f32 + eps).sqrt().to_array()[0]
}

fn tasks(args: &Args) -> u32 {
    let params: Params = args.params();
    params.rows.div_ceil(rows_together(params.stride))
}

/// Operands: inp [rows, stride], weight [stride], out [rows, stride], rstd [rows], residual [rows, stride].
pub struct Forward<R>(PhantomData<R>);

impl<R: Residual> Kernel for Forward<R> {
    fn tasks(args: &Args) -> u32 {
        tasks(args)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let weight = &args.input(1)[..params.stride as usize];
        for row in part(task, rows_together(params.stride), params.rows) {
            let own = row * weight.len()..(row + 1) * weight.len();
            let inp = &args.input(0)[own.clone()];
            // SAFETY: Rows of tasks are disjoint.
            let (out, rstds) =
                unsafe { (args.output(2).slice(own.clone()), args.output(3).slice(row..row + 1)) };
            rstds[0] = rstd::<V>(inp, params.cols, params.eps);
            let scale = V::splat(rstds[0]);
            if R::IS_THERE {
                map([inp, weight, &args.input(4)[own]], out, |[x, weight, residual]: [V; 3]| {
                    weight.mul_add(x * scale, residual)
                });
            } else {
                map([inp, weight], out, |[x, weight]: [V; 2]| weight * (x * scale));
            }
        }
    }
}

/// Operands: dout [rows, stride], inp [rows, stride], weight [stride], rstd [rows], dinp [rows, stride],
/// dresidual [rows, stride].
pub struct Backward<R>(PhantomData<R>);

impl<R: Residual> Kernel for Backward<R> {
    fn tasks(args: &Args) -> u32 {
        tasks(args)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let weight = &args.input(2)[..params.stride as usize];
        for row in part(task, rows_together(params.stride), params.rows) {
            let own = row * weight.len()..(row + 1) * weight.len();
            let (dout, inp) = (&args.input(0)[own.clone()], &args.input(1)[own.clone()]);
            // SAFETY: Rows of tasks are disjoint.
            let dinp = unsafe { args.output(4).slice(own.clone()) };
            let rstd = args.input(3)[row];
            let products =
                sum([dout, weight, inp], |sum: V, [dout, weight, x]| (dout * weight).mul_add(x, sum));
            let mean = V::splat(products * rstd / params.cols as f32);
            let scale = V::splat(rstd);
            if R::IS_THERE {
                let dresidual = &args.input(5)[own];
                map([dout, weight, inp, dresidual], dinp, |[dout, weight, x, dresidual]: [V; 4]| {
                    scale.mul_add(dout * weight - x * scale * mean, dresidual)
                });
            } else {
                map([dout, weight, inp], dinp, |[dout, weight, x]: [V; 3]| {
                    scale * (dout * weight - x * scale * mean)
                });
            }
        }
    }
}

/// Operands: dout [rows, stride], inp [rows, stride], rstd [rows], dweight [stride].
pub struct WeightGradient;

impl Kernel for WeightGradient {
    fn tasks(args: &Args) -> u32 {
        args.params::<Params>().stride.div_ceil(COLUMNS)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let own = part(task, COLUMNS, params.stride);
        // SAFETY: Columns of tasks are disjoint.
        let sums = unsafe { args.output(3).slice(own.clone()) };
        for row in 0..params.rows as usize {
            let start = row * params.stride as usize;
            let of_row = start + own.start..start + own.end;
            let scale = V::splat(args.input(2)[row]);
            let inputs = [&args.input(0)[of_row.clone()], &args.input(1)[of_row]];
            update([&mut *sums], inputs, |[sum], [dout, x]: [V; 2]| [dout.mul_add(x * scale, sum)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, run};

    /// Rows of `stride` of which the lanes past `cols` are zero.
    fn padded(seed: u64, rows: usize, cols: usize, stride: usize) -> Vec<f32> {
        let mut values = random(seed, rows * stride);
        values.chunks_mut(stride).for_each(|row| row[cols..].fill(0.0));
        values
    }

    #[test]
    fn rows_and_their_gradients_are_those_of_f64() {
        for (rows, cols, stride) in [(1, 5, 8), (3, 24, 24), (7, 72, 72), (65, 100, 104), (2, 9001, 9008)] {
            let of = |seed| padded(seed, rows, cols, stride);
            let (inp, dout, beside, weight) = (of(1), of(2), of(3), padded(4, 1, cols, stride));
            let params = Params { rows: rows as u32, cols: cols as u32, stride: stride as u32, eps: 1e-3 };
            let at = |values: &[f32], row: usize, c: usize| f64::from(values[row * stride + c]);
            let mean = |f: &dyn Fn(usize) -> f64| (0..cols).map(f).sum::<f64>() / cols as f64;
            let (mut want, mut dinp) = (vec![0.0; rows * stride], vec![0.0; rows * stride]);
            let mut rstds = vec![0.0; rows];
            for row in 0..rows {
                let rstd = 1.0 / (mean(&|c| at(&inp, row, c).powi(2)) + f64::from(params.eps)).sqrt();
                let g = |c: usize| at(&dout, row, c) * f64::from(weight[c]);
                let normed = |c: usize| at(&inp, row, c) * rstd;
                let product = mean(&|c| g(c) * normed(c));
                rstds[row] = rstd;
                for c in 0..cols {
                    want[row * stride + c] = f64::from(weight[c]) * normed(c);
                    dinp[row * stride + c] = rstd * (g(c) - normed(c) * product);
                }
            }
            let ones = vec![1.0; rows * stride];
            let plus = |want: &[f64]| -> Vec<f64> {
                want.iter().zip(&beside).map(|(want, &beside)| want + f64::from(beside)).collect()
            };
            let (nan, no_rstd) = (vec![f32::NAN; rows * stride], vec![f32::NAN; rows]);
            let rstd32: Vec<f32> = rstds.iter().map(|&rstd| rstd as f32).collect();
            for got in run("rms_norm_forward.plain", &params, &[&inp, &weight, &nan, &no_rstd]) {
                assert_close("out", &got[2], &want, &ones, 2e-6);
                assert_close("rstd", &got[3], &rstds, &rstds, 1e-6);
            }
            let operands: [&[f32]; 5] = [&inp, &weight, &nan, &no_rstd, &beside];
            for got in run("rms_norm_forward.residual", &params, &operands) {
                assert_close("out", &got[2], &plus(&want), &ones, 2e-6);
            }
            for got in run("rms_norm_backward.plain", &params, &[&dout, &inp, &weight, &rstd32, &nan]) {
                assert_close("dinp", &got[4], &dinp, &ones, 4e-6);
            }
            let operands: [&[f32]; 6] = [&dout, &inp, &weight, &rstd32, &nan, &beside];
            for got in run("rms_norm_backward.residual", &params, &operands) {
                assert_close("dinp", &got[4], &plus(&dinp), &ones, 4e-6);
            }
            let of = |c: usize| -> f64 {
                (0..rows).map(|row| at(&dout, row, c) * at(&inp, row, c) * rstds[row]).sum()
            };
            let dweight: Vec<f64> = (0..stride).map(|c| f64::from(weight[c]) + of(c)).collect();
            let norms = vec![rows as f64; stride];
            for got in run("rms_norm_weight_gradient", &params, &[&dout, &inp, &rstd32, &weight]) {
                assert_close("dweight", &got[3], &dweight, &norms, 4e-6);
            }
        }
    }
}
