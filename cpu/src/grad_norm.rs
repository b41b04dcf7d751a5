//! Sums in a fixed order: the step's loss, and the global norm of the gradient with its clipping.

use crate::args::Args;
use crate::lanes::{part, sum};
use crate::params::grad_norm::{
    BLOCK, FinishParams, LossSumParams, STATS, STATS_CLIP, STATS_FINITE, STATS_NORM, STATS_WAS_FINITE,
    SquaresParams,
};
use crate::simd::Vector;
use crate::table::Kernel;

/// Operands: row_loss [n], accumulator [1], which grows by their sum.
pub struct LossSum;

impl Kernel for LossSum {
    fn tasks(_: &Args) -> u32 {
        1
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, _: u32, _: &mut [f32]) {
        let losses = &args.input(0)[..args.params::<LossSumParams>().n as usize];
        // SAFETY: There is one task.
        let accumulator = unsafe { args.output(1).slice(0..1) };
        accumulator[0] += sum([losses], |sum: V, [loss]| sum + loss);
    }
}

/// Blocks that a task takes.
const BLOCKS: u32 = 2;

/// Operands: grad [n], partials, one for each block from `first` on.
pub struct Squares;

impl Kernel for Squares {
    fn tasks(args: &Args) -> u32 {
        args.params::<SquaresParams>().n.div_ceil(BLOCKS * BLOCK as u32)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: SquaresParams = args.params();
        let own = part(task, BLOCKS * BLOCK as u32, params.n);
        let first = (params.first + task * BLOCKS) as usize;
        let blocks = args.input(0)[own].chunks(BLOCK);
        // SAFETY: Blocks of tasks are disjoint.
        let partials = unsafe { args.output(1).slice(first..first + blocks.len()) };
        for (block, partial) in blocks.zip(partials) {
            *partial = sum([block], |sum: V, [g]| g.mul_add(g, sum));
        }
    }
}

/// Operands: partials [count], loss [1], stats, which hold those of the step before.
pub struct Finish;

impl Kernel for Finish {
    fn tasks(_: &Args) -> u32 {
        1
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, _: u32, _: &mut [f32]) {
        let params: FinishParams = args.params();
        let total = sum([&args.input(0)[..params.count as usize]], |sum: V, [partial]| sum + partial);
        let norm = if total.is_finite() { V::splat(total).sqrt().to_array()[0] } else { total };
        let is_finite = total.is_finite() && args.input(1)[0].is_finite();
        let coefficient = params.max_grad_norm / (norm + 1e-6);
        let clip = if params.max_grad_norm > 0.0 && coefficient < 1.0 { coefficient } else { 1.0 };
        // SAFETY: There is one task.
        let stats = unsafe { args.output(2).slice(0..STATS) };
        stats[STATS_WAS_FINITE] = f32::from(stats[STATS_FINITE] == 1.0);
        stats[STATS_NORM] = norm;
        stats[STATS_CLIP] = if is_finite { clip } else { 0.0 };
        stats[STATS_FINITE] = f32::from(is_finite);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, run};

    #[test]
    fn losses_add_to_what_is_there() {
        for n in [1, 7, 33, 5000] {
            let mut losses = random(1, n + 2);
            losses[n..].fill(f32::NAN);
            let want = 2.5 + losses[..n].iter().map(|&loss| f64::from(loss)).sum::<f64>();
            for got in run("grad_norm_loss_sum", &LossSumParams { n: n as u32 }, &[&losses, &[2.5]]) {
                assert_close("loss", &got[1], &[want], &[n as f64], 1e-6);
            }
        }
    }

    #[test]
    fn blocks_of_squares_begin_where_they_are_told() {
        for n in [4, BLOCK, BLOCK + 4, 5 * BLOCK - 4] {
            let mut grad = random(1, n + 4);
            grad[n..].fill(f32::NAN);
            let square = |&g: &f32| f64::from(g) * f64::from(g);
            let want: Vec<f64> =
                grad[..n].chunks(BLOCK).map(|block| block.iter().map(square).sum()).collect();
            let partials = vec![-1.0; want.len() + 4];
            let params = SquaresParams { n: n as u32, first: 3 };
            for got in run("grad_norm_squares", &params, &[&grad, &partials]) {
                let (before, own) = got[1].split_at(3);
                assert_close("partials", &own[..want.len()], &want, &want, 1e-6);
                assert!(before == [-1.0; 3] && own[want.len()..] == [-1.0]);
            }
        }
    }

    #[test]
    fn the_norm_is_clipped_and_says_whether_it_is_finite() {
        let finish = |max_grad_norm, partials: &[f32], loss, before: [f32; 4]| {
            let params = FinishParams { count: partials.len() as u32, max_grad_norm };
            let got = run("grad_norm_finish", &params, &[partials, &[loss], &before]);
            assert!(got.iter().all(|operands| operands[2].len() == 4));
            got.into_iter().map(|operands| operands[2].clone()).collect::<Vec<_>>()
        };
        let poison = [f32::NAN; 4];
        for stats in finish(0.5, &[4.0, 5.0, 16.0], 1.0, poison) {
            assert_eq!(stats, [5.0, 0.5 / (5.0 + 1e-6), 1.0, 0.0]);
        }
        for stats in finish(0.0, &[9.0], 1.0, [1.0; 4]) {
            assert_eq!(stats, [3.0, 1.0, 1.0, 1.0]);
        }
        for stats in finish(1000.0, &[9.0], 1.0, [0.0; 4]) {
            assert_eq!(stats, [3.0, 1.0, 1.0, 0.0]);
        }
        for bad in [f32::NAN, f32::INFINITY] {
            for stats in finish(1.0, &[9.0], bad, [1.0; 4]) {
                assert_eq!(stats, [3.0, 0.0, 0.0, 1.0]);
            }
            for stats in finish(1.0, &[9.0, bad], 1.0, [0.0; 4]) {
                assert!(!stats[0].is_finite() && stats[1..] == [0.0; 3]);
            }
        }
    }
}
