//! y[m, offset + n] += bias[n]: the bias of frozen linear layers, in place.

use crate::args::Args;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{random, run};

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
}
