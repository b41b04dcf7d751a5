//! Frozen linear layers with their LoRA panels: forward, backward, one row, narrow and decoded.

pub mod gemm;
mod row;
#[cfg(test)]
mod tests;
pub mod weight;

use core::marker::PhantomData;
use core::ops::Range;

use gemm::{Part, Target, multiply};
pub use weight::{
    Bf16, F16, F32, Fp4, Fp4Any, Int8, Nf4, Nf4Any, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0,
};
use weight::{ByFunction, Dense, Eight, Format, Stored, Weight, eight_of};

use crate::args::{Args, Output};
use crate::params::linear::{MAX_STACKED, NONE, Params};
use crate::simd::Vector;
use crate::table::Kernel;

/// How a product is cut into tasks.
pub struct Cut {
    rows: usize,
    cols: usize,
    task_rows: usize,
    task_cols: usize,
}

impl Cut {
    /// Of a few cuts the one by which two workers are done first. More of them share its tasks about as evenly.
    pub fn of(rows: usize, cols: usize, inner: usize) -> Self {
        /// Taller and wider tasks would save next to nothing, and make the end of a call uneven.
        const TALL: usize = 528;
        const WIDTHS: [usize; 4] = [gemm::COLS, 96, 64, 48];
        /// Lower tasks would pack the weight for next to nothing.
        const LOW: usize = 32;
        let mut best = (f32::INFINITY, Cut { rows, cols, task_rows: TALL, task_cols: gemm::COLS });
        let mut parts = rows.div_ceil(TALL).max(1);
        loop {
            // Equal parts, because what a short one packs of the weight serves few rows; and whole tiles, where that
            // leaves them equal.
            let height = rows.div_ceil(parts).max(1);
            let task_rows = height.next_multiple_of(if height > LOW { 24 } else { 8 });
            for task_cols in WIDTHS {
                let cut = Cut { rows, cols, task_rows, task_cols };
                let cost = cut.cost(inner);
                if cost < best.0 {
                    best = (cost, cut);
                }
            }
            if height <= LOW {
                return best.1;
            }
            parts *= 2;
        }
    }

    /// Twice what two workers take at most, in multiplications: they share all the work, and the one that is done first
    /// waits for no more than a task.
    fn cost(&self, inner: usize) -> f32 {
        /// What packing a value takes of the left operand, and of the right one, which may be stored in 4 bits; and what
        /// a task takes whatever it does: as measured in Chromium.
        const LEFT: f32 = 4.0;
        const RIGHT: f32 = 10.0;
        const TASK: f32 = 8_192.0;
        let [rows, cols, inner] = [self.rows as f32, self.cols as f32, inner as f32];
        let (down, across) = self.grid();
        let (down, across) = (down as f32, across as f32);
        let all = inner * (rows * cols + LEFT * rows * across + RIGHT * cols * down) + TASK * down * across;
        let (rows, cols) = (self.task_rows.min(self.rows) as f32, self.task_cols.min(self.cols) as f32);
        all + inner * (rows * cols + LEFT * rows + RIGHT * cols) + TASK
    }

    /// Tasks from top to bottom, and from left to right.
    fn grid(&self) -> (usize, usize) {
        (self.rows.div_ceil(self.task_rows), self.cols.div_ceil(self.task_cols))
    }

    pub fn tasks(&self) -> u32 {
        let (down, across) = self.grid();
        (down * across) as u32
    }

    pub fn part(&self, task: u32) -> Part {
        let (_, across) = self.grid();
        let (row, col) = (task as usize / across * self.task_rows, task as usize % across * self.task_cols);
        Part {
            rows: row..self.rows.min(row + self.task_rows),
            cols: col..self.cols.min(col + self.task_cols),
        }
    }
}

/// The stacked layers that have some of `cols`, each with its number, its first column, and its own of `cols`.
pub fn sections(
    section_end: [u32; 4],
    cols: Range<usize>,
) -> impl Iterator<Item = (usize, usize, Range<usize>)> {
    (0..MAX_STACKED).filter_map(move |index| {
        let start = if index == 0 { 0 } else { section_end[index - 1] as usize };
        let end = if index == MAX_STACKED - 1 { u32::MAX } else { section_end[index] };
        let own = cols.start.max(start)..cols.end.min(end as usize);
        (own.start < own.end).then_some((index, start, own))
    })
}

/// The operands of a product with a frozen weight and a panel, in forward and in backward: x, values, scales, t, factor,
/// residual, y. In backward dY stands for X and dX for Y.
pub struct Operands<'a, F, const OUTER_MAJOR: bool> {
    params: Params,
    x: &'a [f32],
    weight: Weight<'a>,
    t: &'a [f32],
    factor: &'a [f32],
    residual: Option<&'a [f32]>,
    y: Output<'a>,
    format: PhantomData<F>,
}

impl<'a, F: Format, const OUTER_MAJOR: bool> Operands<'a, F, OUTER_MAJOR> {
    #[inline(always)]
    fn of(args: &Args<'a>, eight: Eight) -> Self {
        let params: Params = args.params();
        Operands {
            params,
            x: args.input(0),
            weight: Weight::by::<F>(args, &params, 1, eight),
            t: args.input(3),
            factor: args.input(4),
            residual: (params.add_residual != 0).then(|| args.input(5)),
            y: args.output(6),
            format: PhantomData,
        }
    }

    #[inline(always)]
    fn weight(&self) -> Stored<'a, F, OUTER_MAJOR> {
        Stored { weight: self.weight, format: PhantomData }
    }

    #[inline(always)]
    fn target(&self, offset: u32, stride: u32) -> Target<'a> {
        Target {
            y: self.y,
            residual: self.residual,
            offset: offset as usize,
            stride: stride as usize,
            adds: false,
            scale: self.params.scale,
        }
    }
}

/// A dense left operand.
#[inline(always)]
fn rows_of(values: &[f32], offset: u32, stride: u32, rows: usize) -> Dense<'_, true> {
    Dense { values, offset: offset as usize, stride: stride as usize, rows }
}

/// Y = scale·X·Wᵀ + T·Bᵀ + residual. Operands: x, values, scales, t, B, residual, y.
pub struct Forward<F>(PhantomData<F>);

impl<F: Format> Kernel for Forward<F> {
    fn tasks(args: &Args) -> u32 {
        let params: Params = args.params();
        Cut::of(params.rows as usize, params.cols as usize, params.depth as usize).tasks()
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, scratch: &mut [f32]) {
        forward::<V, F>(args, task, scratch, eight_of::<F>);
    }
}

#[inline(always)]
fn forward<V: Vector, F: Format>(args: &Args, task: u32, scratch: &mut [f32], eight: Eight) {
    let operands = Operands::<F, true>::of(args, eight);
    let params = operands.params;
    let [rows, cols, depth, rank] =
        [params.rows as usize, params.cols as usize, params.depth as usize, params.rank as usize];
    let part = Cut::of(rows, cols, depth).part(task);
    if rows == 1 {
        return row::forward::<V, F>(&operands, part.cols);
    }
    let x = rows_of(operands.x, params.x_offset, params.x_stride, rows);
    let target = operands.target(params.y_offset, params.y_stride);
    multiply::<V>(&target, &part, depth, &x, &operands.weight(), scratch);
    if rank == 0 {
        return;
    }
    for (index, start, own) in sections(params.section_end, part.cols) {
        if params.t_offset[index] == NONE {
            continue;
        }
        let t = rows_of(operands.t, params.t_offset[index], params.t_stride, rows);
        let b = rows_of(operands.factor, params.b_base[index], params.rank, own.end - start);
        let target = Target { offset: target.offset + start, adds: true, scale: 1.0, ..target };
        let part = Part { rows: part.rows.clone(), cols: own.start - start..own.end - start };
        multiply::<V>(&target, &part, rank, &t, &b, scratch);
    }
}

/// dX = scale·dY·W + dT·A + residual. Operands: dy, values, scales, dt, A, residual, dx.
pub struct Backward<F>(PhantomData<F>);

impl<F: Format> Kernel for Backward<F> {
    fn tasks(args: &Args) -> u32 {
        let params: Params = args.params();
        Cut::of(params.rows as usize, params.depth as usize, params.cols as usize).tasks()
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, scratch: &mut [f32]) {
        backward::<V, F>(args, task, scratch, eight_of::<F>);
    }
}

#[inline(always)]
fn backward<V: Vector, F: Format>(args: &Args, task: u32, scratch: &mut [f32], eight: Eight) {
    let operands = Operands::<F, false>::of(args, eight);
    let params = operands.params;
    let [rows, cols, depth, rank] =
        [params.rows as usize, params.cols as usize, params.depth as usize, params.rank as usize];
    let part = Cut::of(rows, depth, cols).part(task);
    let dy = rows_of(operands.x, params.y_offset, params.y_stride, rows);
    let target = operands.target(params.x_offset, params.x_stride);
    multiply::<V>(&target, &part, cols, &dy, &operands.weight(), scratch);
    if rank > 0 {
        let dt = rows_of(operands.t, 0, params.t_stride, rows);
        let a = Dense::<false> { values: operands.factor, offset: 0, stride: depth, rows: rank };
        let target = Target { adds: true, scale: 1.0, ..target };
        multiply::<V>(&target, &part, rank, &dt, &a, scratch);
    }
}

/// [`Forward`] for a format that is not hot.
pub struct SharedForward<F>(PhantomData<F>);

impl<F: Format> Kernel for SharedForward<F> {
    fn tasks(args: &Args) -> u32 {
        Forward::<F>::tasks(args)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, scratch: &mut [f32]) {
        shared_forward::<V>(args, task, scratch, eight_of::<F>);
    }
}

#[inline(never)]
fn shared_forward<V: Vector>(args: &Args, task: u32, scratch: &mut [f32], eight: Eight) {
    V::outlined(
        #[inline(always)]
        || forward::<V, ByFunction>(args, task, scratch, eight),
    );
}

/// [`Backward`] for a format that is not hot.
pub struct SharedBackward<F>(PhantomData<F>);

impl<F: Format> Kernel for SharedBackward<F> {
    fn tasks(args: &Args) -> u32 {
        Backward::<F>::tasks(args)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, scratch: &mut [f32]) {
        shared_backward::<V>(args, task, scratch, eight_of::<F>);
    }
}

#[inline(never)]
fn shared_backward<V: Vector>(args: &Args, task: u32, scratch: &mut [f32], eight: Eight) {
    V::outlined(
        #[inline(always)]
        || backward::<V, ByFunction>(args, task, scratch, eight),
    );
}

/// Y = scale·X·Wᵀ for an f32 W. Operands: x, w, y.
pub struct Narrow;

impl Kernel for Narrow {
    fn tasks(args: &Args) -> u32 {
        Forward::<F32>::tasks(args)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, scratch: &mut [f32]) {
        let params: Params = args.params();
        let [rows, cols, depth] = [params.rows as usize, params.cols as usize, params.depth as usize];
        let part = Cut::of(rows, cols, depth).part(task);
        let x = rows_of(args.input(0), params.x_offset, params.x_stride, rows);
        let w = rows_of(args.input(1), 0, params.depth, cols);
        let target = Target {
            y: args.output(2),
            residual: None,
            offset: params.y_offset as usize,
            stride: params.y_stride as usize,
            adds: false,
            scale: params.scale,
        };
        multiply::<V>(&target, &part, depth, &x, &w, scratch);
    }
}

/// The values [N, K] of a stored weight. Operands: out, values, scales.
pub struct Decode<F>(PhantomData<F>);

/// Rows of a weight that a task decodes.
const DECODED: usize = 32;

impl<F: Format> Kernel for Decode<F> {
    fn tasks(args: &Args) -> u32 {
        args.params::<Params>().cols.div_ceil(DECODED as u32)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let (cols, depth) = (params.cols as usize, params.depth as usize);
        let weight = Weight::of::<F>(args, &params, 1);
        let first = task as usize * DECODED;
        for row in first..cols.min(first + DECODED) {
            // SAFETY: Rows of tasks are disjoint.
            let out = unsafe { args.output(0).slice(row * depth..(row + 1) * depth) };
            for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                F::eight::<V>(&weight, row, 8 * i).put(out);
            }
        }
    }
}
