//! What recordings do besides calls of kernels: clears and copies.

use core::ops::Range;

use crate::args::Args;
use crate::simd::Vector;
use crate::table::Kernel;

/// Values that a task takes.
const CHUNK: usize = 1 << 18;

fn chunk(task: u32, len: usize) -> Range<usize> {
    let start = task as usize * CHUNK;
    start..len.min(start + CHUNK)
}

/// Sets operand 0 to zero.
pub struct Clear;

impl Kernel for Clear {
    fn tasks(args: &Args) -> u32 {
        args.output(0).len().div_ceil(CHUNK) as u32
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let out = args.output(0);
        // SAFETY: Chunks of tasks are disjoint.
        unsafe { out.slice(chunk(task, out.len())) }.fill(0.0);
    }
}

/// Copies operand 0 to operand 1, which is as long and elsewhere.
pub struct Copy;

impl Kernel for Copy {
    fn tasks(args: &Args) -> u32 {
        args.input(0).len().div_ceil(CHUNK) as u32
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let from = args.input(0);
        let range = chunk(task, from.len());
        // SAFETY: Chunks of tasks are disjoint.
        unsafe { args.output(1).slice(range.clone()) }.copy_from_slice(&from[range]);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::run;

    #[test]
    fn a_clear_and_a_copy_go_to_the_last_value() {
        for len in [1, 8, 300_000] {
            let values: Vec<f32> = (0..len).map(|value| value as f32).collect();
            for operands in run("clear", &(), &[&values]) {
                assert!(operands[0].iter().all(|&value| value == 0.0));
            }
            for operands in run("copy", &(), &[&values, &vec![-1.0; len]]) {
                assert_eq!(operands[1], values);
            }
        }
    }
}
