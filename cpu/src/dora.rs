//! DoRA: norms of the rows of W + s·B·A, and columns that magnitudes scale.

use core::marker::PhantomData;
use core::ops::Range;

use crate::args::Args;
use crate::lanes::{COLUMNS, load, part, rows_together, store};
use crate::linear::sections;
use crate::linear::weight::{ByFunction, Format, Weight, eight_of};
use crate::params::dora::Params;
use crate::params::linear::{self, NONE};
use crate::simd::Vector;
use crate::table::Kernel;

/// Rows of a weight that a task takes.
const ROWS: u32 = 32;

/// out[n] = Σ W[n, k]². Operands: out [N], values, scales.
pub struct Squares<F>(PhantomData<F>);

impl<F: Format> Kernel for Squares<F> {
    fn tasks(args: &Args) -> u32 {
        args.params::<linear::Params>().cols.div_ceil(ROWS)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: linear::Params = args.params();
        squares::<V>(args, task, Weight::by::<F>(args, &params, 1, eight_of::<F>));
    }
}

/// One function for all formats, since it runs once.
#[inline(never)]
fn squares<V: Vector>(args: &Args, task: u32, weight: Weight<'_>) {
    V::outlined(
        #[inline(always)]
        || {
            let params: linear::Params = args.params();
            let own = part(task, ROWS, params.cols);
            // SAFETY: Rows of tasks are disjoint.
            let out = unsafe { args.output(0).slice(own.clone()) };
            for (row, out) in own.zip(out) {
                let mut sums = [V::zero(); 4];
                for eight in 0..params.depth as usize / 8 {
                    let w = ByFunction::eight::<V>(&weight, row, 8 * eight);
                    sums[eight % 4] = w.mul_add(w, sums[eight % 4]);
                }
                *out = ((sums[0] + sums[1]) + (sums[2] + sums[3])).sum();
            }
        },
    );
}

/// A run of columns of one layer with LoRA: the layer, its columns, and the place of the first of them among magnitudes.
fn layers(params: &Params, cols: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>, Option<usize>)> {
    let Params { section_end, t_offset, b_base, rank, .. } = *params;
    sections(section_end, cols).map(move |(index, start, own)| {
        let place = (b_base[index] / rank) as usize + own.start - start;
        (index, own, (t_offset[index] != NONE).then_some(place))
    })
}

/// Operands: squares [N], products [T, N], gram [T, T], B, norms.
pub struct Norms;

impl Kernel for Norms {
    fn tasks(args: &Args) -> u32 {
        args.params::<Params>().cols.div_ceil(COLUMNS)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let [cols, rank, t_stride] = [params.cols, params.rank, params.t_stride].map(|size| size as usize);
        let [squares, products, gram, lora_b] = [0, 1, 2, 3].map(|index| args.input(index));
        for (index, own, place) in layers(&params, part(task, COLUMNS, params.cols)) {
            let Some(place) = place else { continue };
            let (first, scale) = (params.t_offset[index] as usize, params.scale[index]);
            // SAFETY: Columns of tasks are disjoint, and so are their norms.
            let norms = unsafe { args.output(4).slice(place..place + own.len()) };
            for (i, (col, norm)) in own.zip(norms).enumerate() {
                let b = &lora_b[(place + i) * rank..][..rank];
                let mut sum = 0.0;
                for (j, &of_j) in b.iter().enumerate() {
                    let row = &gram[(first + j) * t_stride + first..][..rank];
                    let mut of_row = V::zero();
                    for at in (0..rank).step_by(8) {
                        of_row = load::<V>(row, at).mul_add(load(b, at), of_row);
                    }
                    let part = 2.0 * products[(first + j) * cols + col] + scale * of_row.sum();
                    sum += of_j * part;
                }
                *norm = squares[col] + scale * sum;
            }
        }
        for (_, own, place) in layers(&params, part(task, COLUMNS, params.cols)) {
            let Some(place) = place else { continue };
            // SAFETY: As above, and the slice there is gone.
            let norms = unsafe { args.output(4).slice(place..place + own.len()) };
            for at in (0..norms.len()).step_by(8) {
                let square: V = load(norms, at);
                store(V::zero().max(square).sqrt(), norms, at);
            }
        }
    }
}

/// m/n of eight columns, 0 where the norm is.
#[inline(always)]
fn factors<V: Vector>(magnitudes: &[f32], norms: &[f32], at: usize) -> V {
    let norm: V = load(norms, at);
    let is_positive = V::zero().less(norm);
    let factor = load::<V>(magnitudes, at) / V::select(is_positive, norm, V::splat(1.0));
    V::select(is_positive, factor, V::zero())
}

/// y[m, offset + n] = m/n·z[m, n] + residual[m, offset + n]. Operands: m, n, z [M, N], residual, y [M, stride].
pub struct Forward;

impl Kernel for Forward {
    fn tasks(args: &Args) -> u32 {
        let params: Params = args.params();
        params.rows.div_ceil(rows_together(params.cols))
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let (magnitudes, norms, z) = (args.input(0), args.input(1), args.input(2));
        let cols = params.cols as usize;
        for row in part(task, rows_together(params.cols), params.rows) {
            let start = row * params.stride as usize + params.offset as usize;
            // SAFETY: Rows of tasks are disjoint.
            let y = unsafe { args.output(4).slice(start..start + cols) };
            for (_, own, place) in layers(&params, 0..cols) {
                for at in own.clone().step_by(8) {
                    let factor = match place {
                        Some(place) => factors(magnitudes, norms, place + at - own.start),
                        None => V::splat(1.0),
                    };
                    let scaled = factor * load(z, row * cols + at);
                    let value = match params.add_residual {
                        0 => scaled,
                        _ => scaled + load(args.input(3), start + at),
                    };
                    store(value, y, at);
                }
            }
        }
    }
}

/// dz[m, n] = (m/n − minus)·dy[m, offset + n]. Operands: m, n, dy [M, stride], dz [M, N].
pub struct Backward;

impl Kernel for Backward {
    fn tasks(args: &Args) -> u32 {
        Forward::tasks(args)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let (magnitudes, norms, dy) = (args.input(0), args.input(1), args.input(2));
        let cols = params.cols as usize;
        for row in part(task, rows_together(params.cols), params.rows) {
            let start = row * params.stride as usize + params.offset as usize;
            // SAFETY: Rows of tasks are disjoint.
            let dz = unsafe { args.output(3).slice(row * cols..(row + 1) * cols) };
            for (_, own, place) in layers(&params, 0..cols) {
                for at in own.clone().step_by(8) {
                    let factor = match place {
                        Some(place) => factors(magnitudes, norms, place + at - own.start),
                        None => V::splat(1.0),
                    };
                    store((factor - V::splat(params.minus)) * load(dy, start + at), dz, at);
                }
            }
        }
    }
}

/// gradient[n] += Σ dy[m, offset + n]·z[m, n] / n[n]. Operands: dy [M, stride], z [M, N], n, gradient.
pub struct MagnitudeGradient;

impl Kernel for MagnitudeGradient {
    fn tasks(args: &Args) -> u32 {
        args.params::<Params>().cols.div_ceil(COLUMNS)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let (dy, z, norms) = (args.input(0), args.input(1), args.input(2));
        let [cols, stride, offset] = [params.cols, params.stride, params.offset].map(|size| size as usize);
        for (_, own, place) in layers(&params, part(task, COLUMNS, params.cols)) {
            let Some(place) = place else { continue };
            // SAFETY: Columns of tasks are disjoint, and so are their magnitudes.
            let gradient = unsafe { args.output(3).slice(place..place + own.len()) };
            for (i, at) in own.step_by(8).enumerate() {
                let mut sum = V::zero();
                for row in 0..params.rows as usize {
                    let gradient: V = load(dy, row * stride + offset + at);
                    sum = gradient.mul_add(load(z, row * cols + at), sum);
                }
                let norm: V = load(norms, place + 8 * i);
                let is_positive = V::zero().less(norm);
                let divided = sum / V::select(is_positive, norm, V::splat(1.0));
                let before: V = load(gradient, 8 * i);
                store(before + V::select(is_positive, divided, V::zero()), gradient, 8 * i);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, run};

    /// Three stacked layers, the middle one without LoRA, of rank 8.
    const PARAMS: Params = Params {
        rows: 35,
        cols: 96,
        stride: 104,
        offset: 8,
        rank: 8,
        t_stride: 16,
        add_residual: 1,
        minus: 1.0,
        section_end: [24, 32, 96, u32::MAX],
        t_offset: [0, NONE, 8, NONE],
        b_base: [0, 0, 24 * 8, 0],
        scale: [0.5, 1.0, 2.0, 1.0],
    };

    /// The number of a column's magnitude.
    fn place(col: usize) -> Option<usize> {
        match col {
            0..24 => Some(col),
            24..32 => None,
            _ => Some(col - 8),
        }
    }

    #[test]
    fn squares_are_those_of_rows() {
        for (rows, depth) in [(8, 8), (72, 40), (40, 1000)] {
            let weight = random(1, rows * depth);
            let params = linear::Params {
                rows: 1,
                cols: rows as u32,
                depth: depth as u32,
                true_depth: depth as u32,
                x_stride: 0,
                x_offset: 0,
                y_stride: 0,
                y_offset: 0,
                rank: 0,
                t_stride: 0,
                add_residual: 0,
                scale: 1.0,
                section_end: [u32::MAX; 4],
                t_offset: [NONE; 4],
                b_base: [0; 4],
            };
            let want: Vec<f64> =
                weight.chunks(depth).map(|row| row.iter().map(|&w| f64::from(w).powi(2)).sum()).collect();
            for operands in run("dora_squares.f32", &params, &[&vec![0.0; rows], &weight, &weight]) {
                assert_close("squares", &operands[0], &want, &want, 1e-6);
            }
        }
    }

    #[test]
    fn norms_have_all_three_parts() {
        let squares: Vec<f32> = random(1, 96).iter().map(|x| 40.0 + x).collect();
        let (products, gram, b) = (random(2, 16 * 96), random(3, 16 * 16), random(4, 88 * 8));
        let mut want = vec![0.0; 88];
        for col in 0..96 {
            let Some(place) = place(col) else { continue };
            let (first, scale) = if col < 24 { (0, 0.5) } else { (8, 2.0) };
            let b = |j: usize| f64::from(b[place * 8 + j]);
            let mut square = f64::from(squares[col]);
            for j in 0..8 {
                square += 2.0 * scale * b(j) * f64::from(products[(first + j) * 96 + col]);
                for i in 0..8 {
                    square += scale * scale * b(j) * f64::from(gram[(first + j) * 16 + first + i]) * b(i);
                }
            }
            want[place] = square.max(0.0).sqrt();
        }
        for operands in run("dora_norms", &PARAMS, &[&squares, &products, &gram, &b, &vec![0.0; 88]]) {
            assert_close("norms", &operands[4], &want, &vec![10.0; 88], 1e-6);
        }
    }

    #[test]
    fn columns_are_scaled_and_their_gradients_are_right() {
        let magnitudes = random(1, 88);
        let norms: Vec<f32> =
            random(2, 88).iter().enumerate().map(|(i, x)| if i == 3 { 0.0 } else { x.abs() + 0.5 }).collect();
        let (z, dy, residual) = (random(3, 35 * 96), random(4, 35 * 104), random(5, 35 * 104));
        let factor = |col: usize| match place(col) {
            None => 1.0,
            Some(3) => 0.0,
            Some(place) => f64::from(magnitudes[place]) / f64::from(norms[place]),
        };
        let mut want: Vec<f64> = dy.iter().map(|&x| f64::from(x)).collect();
        let mut want_dz = Vec::new();
        let mut want_gradient = vec![0.25; 88];
        for row in 0..35 {
            for col in 0..96 {
                let (at, z) = (row * 104 + 8 + col, f64::from(z[row * 96 + col]));
                want[at] = factor(col) * z + f64::from(residual[at]);
                want_dz.push((factor(col) - 1.0) * f64::from(dy[at]));
                if let Some(place) = place(col).filter(|&place| place != 3) {
                    want_gradient[place] += f64::from(dy[at]) * z / f64::from(norms[place]);
                }
            }
        }
        // What is not the product's stays.
        for operands in run("dora_forward", &PARAMS, &[&magnitudes, &norms, &z, &residual, &dy]) {
            assert_close("y", &operands[4], &want, &vec![3.0; want.len()], 1e-6);
        }
        for operands in run("dora_backward", &PARAMS, &[&magnitudes, &norms, &dy, &vec![0.0; 35 * 96]]) {
            assert_close("dz", &operands[3], &want_dz, &vec![3.0; want_dz.len()], 1e-6);
        }
        for operands in run("dora_magnitude_gradient", &PARAMS, &[&dy, &z, &norms, &vec![0.25; 88]]) {
            assert_close("dm", &operands[3], &want_gradient, &vec![35.0; 88], 1e-6);
        }
    }
}
