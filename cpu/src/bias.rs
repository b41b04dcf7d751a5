//! y[m, offset + n] += bias[n]: the bias of linear layers, in place, and its gradient.

use crate::args::Args;
use crate::lanes::{COLUMNS, part, update};
use crate::params::bias::Params;
use crate::simd::Vector;
use crate::table::Kernel;

/// Rows that a task takes.
const ROWS: u32 = 32;

/// Operands: bias [cols], y [rows, stride].
pub struct Bias;

impl Kernel for Bias {
    fn tasks(args: &Args) -> u32 {
        args.params::<Params>().rows.div_ceil(ROWS)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let (bias, y) = (&args.input(0)[..params.cols as usize], args.output(1));
        for row in task * ROWS..params.rows.min((task + 1) * ROWS) {
            let start = row as usize * params.stride as usize + params.offset as usize;
            // SAFETY: Rows of tasks are disjoint.
            let y = unsafe { y.slice(start..start + bias.len()) };
            let (eights, rest) = y.as_chunks_mut::<8>();
            let (bias_eights, bias_rest) = bias.as_chunks::<8>();
            for (y, bias) in eights.iter_mut().zip(bias_eights) {
                (V::of(y) + V::of(bias)).put(y);
            }
            rest.iter_mut().zip(bias_rest).for_each(|(y, bias)| *y += bias);
        }
    }
}

/// Operands: dy [rows, stride], dbias [cols].
pub struct Gradient;

impl Kernel for Gradient {
    fn tasks(args: &Args) -> u32 {
        args.params::<Params>().cols.div_ceil(COLUMNS)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let own = part(task, COLUMNS, params.cols);
        // SAFETY: Columns of tasks are disjoint.
        let sums = unsafe { args.output(1).slice(own.clone()) };
        for row in 0..params.rows as usize {
            let start = row * params.stride as usize + params.offset as usize;
            let dy = &args.input(0)[start + own.start..start + own.end];
            update([&mut *sums], [dy], |[sum], [dy]: [V; 1]| [sum + dy]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, run};

    #[test]
    fn columns_of_the_bias_grow_and_others_stay() {
        for (rows, stride, offset, cols) in [(1, 4, 0, 4), (3, 20, 4, 12), (65, 40, 8, 32)] {
            let (bias, y) = (random(1, cols), random(2, rows * stride));
            let params =
                Params { rows: rows as u32, stride: stride as u32, offset: offset as u32, cols: cols as u32 };
            let mut want = y.clone();
            for row in want.chunks_mut(stride) {
                row[offset..offset + cols].iter_mut().zip(&bias).for_each(|(y, bias)| *y += bias);
            }
            for operands in run("bias", &params, &[&bias, &y]) {
                assert_eq!(operands[1], want);
            }
        }
    }

    #[test]
    fn the_gradient_is_the_sum_of_the_columns() {
        for (rows, stride, offset, cols) in [(1, 4, 0, 4), (3, 20, 4, 12), (65, 240, 8, 196)] {
            let (dy, before) = (random(1, rows * stride), random(2, cols));
            let params =
                Params { rows: rows as u32, stride: stride as u32, offset: offset as u32, cols: cols as u32 };
            let sum =
                |n: usize| -> f64 { dy[offset + n..].iter().step_by(stride).map(|&dy| f64::from(dy)).sum() };
            let want: Vec<f64> = (0..cols).map(|n| f64::from(before[n]) + sum(n)).collect();
            for operands in run("bias_gradient", &params, &[&dy, &before]) {
                assert_close("dbias", &operands[1], &want, &vec![rows as f64; cols], 1e-6);
            }
        }
    }
}
