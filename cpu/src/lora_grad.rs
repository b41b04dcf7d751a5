//! The gradients of LoRA's factors, for all the layers stacked in one linear at once.

use crate::args::Args;
use crate::linear::gemm::{Part, Target, multiply};
use crate::linear::weight::Dense;
use crate::linear::{Cut, sections};
use crate::params::linear::{self, NONE};
use crate::params::lora_grad::Params;
use crate::simd::Vector;
use crate::table::Kernel;

/// dT = scale·dY·B. Operands: dy, B, dt.
pub struct T;

/// Rows that a task takes: few columns make the product narrow, and a power of two divides most batches evenly.
const ROWS: usize = 32;

impl Kernel for T {
    fn tasks(args: &Args) -> u32 {
        args.params::<linear::Params>().rows.div_ceil(ROWS as u32)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, scratch: &mut [f32]) {
        let params: linear::Params = args.params();
        let (rows, rank) = (params.rows as usize, params.rank as usize);
        let first = task as usize * ROWS;
        let part = Part { rows: first..rows.min(first + ROWS), cols: 0..rank };
        // A section that has no end is none.
        let used = params.section_end.into_iter().filter(|&end| end != u32::MAX).max().unwrap_or(0);
        for (index, start, own) in sections(params.section_end, 0..used as usize) {
            if params.t_offset[index] == NONE {
                continue;
            }
            let dy = Dense::<true> {
                values: args.input(0),
                offset: params.y_offset as usize + start,
                stride: params.y_stride as usize,
                rows,
            };
            let b = Dense::<false> {
                values: args.input(1),
                offset: params.b_base[index] as usize,
                stride: rank,
                rows: own.len(),
            };
            let target = Target {
                y: args.output(2),
                residual: None,
                offset: params.t_offset[index] as usize,
                stride: params.t_stride as usize,
                adds: false,
                scale: params.scale,
            };
            multiply::<V>(&target, &part, own.len(), &dy, &b, scratch);
        }
    }
}

/// G += scale·Uᵀ·V. Operands: u, v, gradient.
pub struct Outer;

impl Outer {
    fn cut(params: &Params) -> Cut {
        Cut::of(params.height as usize, params.width as usize, params.rows as usize)
    }
}

impl Kernel for Outer {
    fn tasks(args: &Args) -> u32 {
        Outer::cut(&args.params()).tasks()
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, scratch: &mut [f32]) {
        let params: Params = args.params();
        let (rows, width) = (params.rows as usize, params.width as usize);
        let part = Outer::cut(&params).part(task);
        for (index, start, own) in sections(params.section_end, part.rows) {
            if params.v_offset[index] == NONE {
                continue;
            }
            let u = Dense::<false> {
                values: args.input(0),
                offset: params.u_offset as usize + start,
                stride: params.u_stride as usize,
                rows,
            };
            let v = Dense::<false> {
                values: args.input(1),
                offset: params.v_offset[index] as usize,
                stride: params.v_stride as usize,
                rows,
            };
            let target = Target {
                y: args.output(2),
                residual: None,
                offset: params.g_base[index] as usize,
                stride: width,
                adds: true,
                scale: params.scale,
            };
            let part = Part { rows: own.start - start..own.end - start, cols: part.cols.clone() };
            multiply::<V>(&target, &part, rows, &u, &v, scratch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, run};

    /// Two layers with LoRA and one without between them.
    const SECTIONS: [u32; 4] = [72, 80, 152, u32::MAX];

    #[test]
    fn the_gradient_of_t_is_right() {
        for (rows, rank) in [(1, 8), (3, 16), (65, 8), (130, 24)] {
            let params = linear::Params {
                rows: rows as u32,
                cols: 152,
                depth: 8,
                true_depth: 8,
                x_stride: 8,
                x_offset: 0,
                y_stride: 168,
                y_offset: 8,
                rank: rank as u32,
                t_stride: 2 * rank as u32,
                add_residual: 0,
                scale: 0.75,
                section_end: SECTIONS,
                t_offset: [0, NONE, rank as u32, NONE],
                b_base: [0, 0, 72 * rank as u32, 0],
            };
            let (dy, b, dt) = (random(1, rows * 168), random(2, 144 * rank), random(3, rows * 2 * rank));
            let want = |i: usize| -> (f64, f64) {
                let (row, section, r) = (i / (2 * rank), i / rank % 2, i % rank);
                let product = |col: usize| {
                    let y = dy[row * 168 + 8 + 80 * section + col];
                    0.75 * f64::from(y) * f64::from(b[(72 * section + col) * rank + r])
                };
                (0..72).map(product).fold((0.0, 0.0), |(sum, norm), next| (sum + next, norm + next.abs()))
            };
            let (want, norms): (Vec<f64>, Vec<f64>) = (0..dt.len()).map(want).unzip();
            for operands in run("lora_grad_t", &params, &[&dy, &b, &dt]) {
                assert_close(&format!("{rows} rows of rank {rank}"), &operands[2], &want, &norms, 1e-6);
            }
        }
    }

    #[test]
    fn the_outer_product_adds_to_the_gradient() {
        for (rows, width, kernel) in [
            (1, 8, "lora_grad_outer.u"),
            (3, 16, "lora_grad_outer.u"),
            (65, 200, "lora_grad_outer.v"),
            (300, 8, "lora_grad_outer.u"),
        ] {
            let params = Params {
                rows: rows as u32,
                u_stride: 168,
                u_offset: 8,
                v_stride: 2 * width as u32 + 8,
                height: 152,
                width: width as u32,
                scale: 1.0,
                pad: 0,
                section_end: SECTIONS,
                v_offset: [0, NONE, width as u32, NONE],
                g_base: [0, 0, 72 * width as u32, 0],
            };
            let v_stride = params.v_stride as usize;
            let (u, v, g) = (random(1, rows * 168), random(2, rows * v_stride), random(3, 144 * width));
            let want = |i: usize| -> (f64, f64) {
                let (section, a, b) = (i / (72 * width), i / width % 72, i % width);
                let product = |row: usize| {
                    let u = u[row * 168 + 8 + 80 * section + a];
                    f64::from(u) * f64::from(v[row * v_stride + section * width + b])
                };
                let start = (f64::from(g[i]), f64::from(g[i]).abs());
                (0..rows).map(product).fold(start, |(sum, norm), next| (sum + next, norm + next.abs()))
            };
            let (want, norms): (Vec<f64>, Vec<f64>) = (0..g.len()).map(want).unzip();
            for operands in run(kernel, &params, &[&u, &v, &g]) {
                assert_close(&format!("{kernel} of {rows} rows"), &operands[2], &want, &norms, 1e-6);
            }
        }
    }
}
