//! Picks rows out of an activation and puts them back.

use crate::args::Args;
use crate::lanes::{part, rows_together, update};
use crate::params::rows::{DEAD, Params};
use crate::simd::Vector;
use crate::table::Kernel;

fn tasks(args: &Args) -> u32 {
    let params: Params = args.params();
    params.count.div_ceil(rows_together(params.stride))
}

/// The rows of a block that a task has, with their indices.
fn own<'a>(args: &Args<'a>, params: &Params, task: u32) -> impl Iterator<Item = (usize, u32)> + 'a {
    let own = part(task, rows_together(params.stride), params.count);
    let first = params.first as usize;
    own.clone().zip(args.words(1)[first + own.start..first + own.end].iter().copied())
}

/// Operands: inp [M, stride], index, out [count, stride].
pub struct Gather;

impl Kernel for Gather {
    fn tasks(args: &Args) -> u32 {
        tasks(args)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let (inp, out, stride) = (args.input(0), args.output(2), params.stride as usize);
        for (i, index) in own(args, &params, task) {
            // SAFETY: Rows of tasks are disjoint.
            let out = unsafe { out.slice(i * stride..(i + 1) * stride) };
            match index {
                DEAD => out.fill(0.0),
                _ => out.copy_from_slice(&inp[index as usize * stride..][..stride]),
            }
        }
    }
}

/// Operands: inp [count, stride], index, out [M, stride].
pub struct Scatter;

impl Kernel for Scatter {
    fn tasks(args: &Args) -> u32 {
        tasks(args)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let (inp, out, stride) = (args.input(0), args.output(2), params.stride as usize);
        for (i, index) in own(args, &params, task).filter(|&(_, index)| index != DEAD) {
            let start = index as usize * stride;
            // SAFETY: Live indices are distinct.
            let out = unsafe { out.slice(start..start + stride) };
            out.copy_from_slice(&inp[i * stride..][..stride]);
        }
    }
}

/// Operands: index, weight, out [M, stride].
pub struct Scale;

impl Kernel for Scale {
    fn tasks(args: &Args) -> u32 {
        tasks(args)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let stride = params.stride as usize;
        for i in part(task, rows_together(params.stride), params.count) {
            let entry = params.first as usize + i;
            let (index, weight) = (args.words(0)[entry], V::splat(args.input(1)[entry]));
            if index != DEAD {
                let start = index as usize * stride;
                // SAFETY: Live indices are distinct.
                let out = unsafe { args.output(2).slice(start..start + stride) };
                update([out], [], |[value]: [V; 1], []| [value * weight]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{from_words, random, run};

    #[test]
    fn rows_go_where_their_index_says() {
        for stride in [8, 24, 4096] {
            let index = [9, 5, DEAD, 0, 6, 3];
            let params = Params { count: 5, stride: stride as u32, first: 1 };
            let row = |values: &[f32], row: u32| values[row as usize * stride..][..stride].to_vec();
            let inp = random(1, 7 * stride);
            let out = vec![f32::NAN; 5 * stride];
            for got in run("rows_gather", &params, &[&inp, &from_words(&index), &out]) {
                for (i, &from) in index[1..].iter().enumerate() {
                    let want = if from == DEAD { vec![0.0; stride] } else { row(&inp, from) };
                    assert_eq!(row(&got[2], i as u32), want);
                }
            }
            let weight = random(3, 6);
            for got in run("rows_scale", &params, &[&from_words(&index), &weight, &inp]) {
                for to in 0..7 {
                    let factor =
                        index[1..].iter().position(|&index| index == to).map_or(1.0, |i| weight[1 + i]);
                    let want: Vec<f32> = row(&inp, to).iter().map(|value| value * factor).collect();
                    assert_eq!(row(&got[2], to), want);
                }
            }
            let small = random(2, 5 * stride);
            for got in run("rows_scatter", &params, &[&small, &from_words(&index), &inp]) {
                for to in 0..7 {
                    let want = match index[1..].iter().position(|&index| index == to) {
                        Some(i) => row(&small, i as u32),
                        None => row(&inp, to),
                    };
                    assert_eq!(row(&got[2], to), want);
                }
            }
        }
    }
}
