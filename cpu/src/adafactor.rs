//! The update of Adafactor, tile by tile; `shaders/adafactor_update.wgsl` has its equations.

use core::ops::Range;

use crate::args::Args;
use crate::lanes::{map, part, sum, update};
use crate::params::adafactor::{Hyper, Line, Matrix, Params, TILE, TILE_SUMS, Tile, UpdateParams};
use crate::params::grad_norm::{STATS_CLIP, STATS_FINITE, STATS_WAS_FINITE};
use crate::simd::Vector;
use crate::table::Kernel;

/// Tiles that a task takes.
const TILES: u32 = 4;
/// Lines that a task takes.
const LINES: u32 = 16;

/// The entries of the table at `operand` that a task has, `each` to a task and `count` in all.
fn own<'a, const N: usize>(
    args: &Args<'a>,
    operand: usize,
    [task, each, count]: [u32; 3],
) -> impl Iterator<Item = [usize; N]> + use<'a, N> {
    let entries = &args.words(operand).as_chunks::<N>().0[part(task, each, count)];
    entries.iter().map(|entry| entry.map(|word| word as usize))
}

/// A tile's place in its buffer and beside it.
#[derive(Clone, Copy)]
struct Place {
    first: usize,
    stride: usize,
    rows: usize,
    cols: usize,
    row_moments: usize,
    col_moments: usize,
    number: usize,
    matrix: usize,
}

impl Place {
    fn of([first, stride, rows, cols, row_moments, col_moments, number, matrix]: [usize; 8]) -> Self {
        const { assert!(size_of::<Tile>() == 32) };
        Place { first, stride, rows, cols, row_moments, col_moments, number, matrix }
    }

    /// The values of `row`.
    fn row(self, row: usize) -> Range<usize> {
        let start = self.first + row * self.stride;
        start..start + self.cols
    }

    /// 1 over the roots of the moments of its columns.
    #[inline(always)]
    fn of_cols<V: Vector>(self, moments: &[f32]) -> [f32; TILE] {
        let mut of_cols = [0.0; TILE];
        let own = &moments[self.col_moments..][..self.cols];
        map([own], &mut of_cols[..self.cols], |[moment]: [V; 1]| V::splat(1.0) / moment.sqrt());
        of_cols
    }

    /// `clip` over the root of the moment of `row`, in all lanes.
    #[inline(always)]
    fn of_row<V: Vector>(self, moments: &[f32], row: usize, clip: f32) -> V {
        V::splat(clip) / V::splat(moments[self.row_moments + row]).sqrt()
    }
}

/// The one of two `Hyper` that holds for the step.
fn hyper(values: &[f32], stats: &[f32]) -> Hyper {
    let index = usize::from(stats[STATS_WAS_FINITE] == 1.0);
    let [decay, learning_rate, beta2, one_minus_beta2, eps] = values.as_chunks::<5>().0[index];
    Hyper { decay, learning_rate, beta2, one_minus_beta2, eps }
}

#[inline(always)]
fn root<V: Vector>(x: f32) -> f32 {
    V::splat(x).sqrt().to_array()[0]
}

/// Operands: grad, stats, tiles, sums.
pub struct Squares;

impl Kernel for Squares {
    fn tasks(args: &Args) -> u32 {
        args.params::<Params>().count.div_ceil(TILES)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let count = args.params::<Params>().count;
        let clip = V::splat(args.input(1)[STATS_CLIP]);
        for tile in own(args, 2, [task, TILES, count]).map(Place::of) {
            let first = tile.number * TILE_SUMS;
            // SAFETY: Each tile has sums of its own.
            let (of_rows, of_cols) =
                unsafe { args.output(3).slice(first..first + TILE_SUMS) }.split_at_mut(TILE);
            let of_cols = &mut of_cols[..tile.cols];
            of_cols.fill(0.0);
            for (row, of_row) in of_rows[..tile.rows].iter_mut().enumerate() {
                let grad = &args.input(0)[tile.row(row)];
                let add = |sum: V, [g]: [V; 1]| {
                    let g = g * clip;
                    g.mul_add(g, sum)
                };
                *of_row = sum([grad], add);
                update([&mut *of_cols], [grad], |[sum], grad| [add(sum, grad)]);
            }
        }
    }
}

/// Operands: sums, stats, two `Hyper`, lines, moments.
pub struct Moments;

impl Kernel for Moments {
    fn tasks(args: &Args) -> u32 {
        args.params::<Params>().count.div_ceil(LINES)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        const { assert!(size_of::<Line>() == 24) };
        let stats = args.input(1);
        if stats[STATS_FINITE] != 1.0 {
            return;
        }
        let Hyper { beta2, one_minus_beta2, eps, .. } = hyper(args.input(2), stats);
        let [beta2, share, eps] = [V::splat(beta2), V::splat(one_minus_beta2), V::splat(eps)];
        let count = args.params::<Params>().count;
        for [first, step, tiles, moments, len, values] in own(args, 3, [task, LINES, count]) {
            let mut sums = [0.0; TILE];
            let sums = &mut sums[..len];
            for tile in 0..tiles {
                let of_tile = &args.input(0)[first + tile * step..][..len];
                update([&mut *sums], [of_tile], |[sum], [of_tile]: [V; 1]| [sum + of_tile]);
            }
            let values = V::splat(values as f32);
            // SAFETY: Each line has moments of its own.
            let moments = unsafe { args.output(4).slice(moments..moments + len) };
            update([moments], [&*sums], |[moment], [sum]: [V; 1]| {
                [beta2.mul_add(moment, share * (sum / values + eps))]
            });
        }
    }
}

/// Operands: grad, stats, tiles, moments, partials.
pub struct Ratios;

impl Kernel for Ratios {
    fn tasks(args: &Args) -> u32 {
        args.params::<Params>().count.div_ceil(TILES)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let count = args.params::<Params>().count;
        let (clip, moments) = (args.input(1)[STATS_CLIP], args.input(3));
        for tile in own(args, 2, [task, TILES, count]).map(Place::of) {
            let of_cols = tile.of_cols::<V>(moments);
            let mut total = 0.0;
            for row in 0..tile.rows {
                let of_row: V = tile.of_row(moments, row, clip);
                let grad = &args.input(0)[tile.row(row)];
                total += sum([grad, &of_cols[..tile.cols]], |sum: V, [grad, of_cols]| {
                    let ratio = grad * of_row * of_cols;
                    ratio.mul_add(ratio, sum)
                });
            }
            // SAFETY: Each tile has a place of its own.
            let partial = unsafe { args.output(4).slice(tile.number..tile.number + 1) };
            partial[0] = total;
        }
    }
}

/// Operands: partials, stats, two `Hyper`, matrices, moments, scales.
pub struct Scales;

impl Kernel for Scales {
    fn tasks(args: &Args) -> u32 {
        args.params::<Params>().count
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        const { assert!(size_of::<Matrix>() == 24) };
        let count = args.params::<Params>().count;
        let learning_rate = hyper(args.input(2), args.input(1)).learning_rate;
        for [row_moments, row_places, rows, cols, first_tile, tiles] in own(args, 3, [task, 1, count]) {
            let of_rows = &args.input(4)[row_moments..][..row_places];
            let mean = sum([of_rows], |sum: V, [moment]| sum + moment) / rows as f32;
            let of_tiles = &args.input(0)[first_tile..][..tiles];
            let mean_lanes = V::splat(mean);
            let squares = sum([of_tiles], |sum: V, [partial]| partial.mul_add(mean_lanes, sum));
            let mean_square = squares / (rows as f32 * cols as f32);
            let rms = root::<V>(mean_square);
            let scale = learning_rate * root::<V>(mean) / if rms > 1.0 { rms } else { 1.0 };
            // SAFETY: Each matrix is a task.
            let own = unsafe { args.output(5).slice(task as usize..task as usize + 1) };
            own[0] = scale;
        }
    }
}

/// Operands: grad, stats, two `Hyper`, tiles, moments, scales, param.
pub struct Update;

impl Kernel for Update {
    fn tasks(args: &Args) -> u32 {
        args.params::<UpdateParams>().count.div_ceil(TILES)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let stats = args.input(1);
        if stats[STATS_FINITE] != 1.0 {
            return;
        }
        let UpdateParams { count, decays } = args.params();
        let decay = V::splat(if decays == 1 { hyper(args.input(2), stats).decay } else { 1.0 });
        let moments = args.input(4);
        for tile in own(args, 3, [task, TILES, count]).map(Place::of) {
            let scale = V::splat(args.input(5)[tile.matrix]);
            let of_cols = tile.of_cols::<V>(moments);
            for row in 0..tile.rows {
                let of_row: V = tile.of_row(moments, row, stats[STATS_CLIP]);
                let own = tile.row(row);
                // SAFETY: Tiles are disjoint.
                let param = unsafe { args.output(6).slice(own.clone()) };
                update(
                    [param],
                    [&args.input(0)[own], &of_cols[..tile.cols]],
                    |[param]: [V; 1], [grad, of_cols]| [param * decay - scale * (grad * of_row * of_cols)],
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, from_words, random, run};

    /// Tiles of 3 rows and 24 columns, and of 2 rows and 16, in rows of 48 values.
    const TILES_OF_TWO: [u32; 16] = [4, 48, 3, 24, 0, 64, 1, 1, 32, 48, 2, 16, 8, 96, 0, 0];
    const STATS: [f32; 4] = [4.0, 0.25, 1.0, 1.0];
    /// Two `Hyper`, of which the second holds.
    const HYPERS: [f32; 10] = [0.5, 9.0, 0.0, 1.0, 1.0, 0.75, 0.125, 0.625, 0.375, 1e-3];

    fn places() -> impl Iterator<Item = Place> {
        let tiles = TILES_OF_TWO.as_chunks::<8>().0;
        tiles.iter().map(|tile| Place::of(tile.map(|word| word as usize)))
    }

    fn positive(seed: u64, count: usize) -> Vec<f32> {
        random(seed, count).into_iter().map(|x| x.abs() + 0.01).collect()
    }

    /// What a value of the clipped gradient is over the roots of its moments.
    fn ratio(grad: &[f32], moments: &[f32], tile: Place, [row, col]: [usize; 2]) -> f64 {
        let [g, r, c] = [
            grad[tile.row(row).start + col],
            moments[tile.row_moments + row],
            moments[tile.col_moments + col],
        ]
        .map(f64::from);
        0.25 * g / (r.sqrt() * c.sqrt())
    }

    #[test]
    fn squares_are_added_by_row_and_by_column() {
        let grad = random(1, 160);
        let sums = vec![-1.0; 2 * TILE_SUMS];
        let operands: [&[f32]; 4] = [&grad, &STATS, &from_words(&TILES_OF_TWO), &sums];
        for got in run("adafactor_squares", &Params { count: 2 }, &operands) {
            for tile in places() {
                let square = |row: usize, col: usize| {
                    let g = 0.25 * f64::from(grad[tile.row(row).start + col]);
                    g * g
                };
                let of_rows = (0..tile.rows).map(|row| (0..tile.cols).map(|col| square(row, col)).sum());
                let of_cols = (0..tile.cols).map(|col| (0..tile.rows).map(|row| square(row, col)).sum());
                let own = &got[3][tile.number * TILE_SUMS..][..TILE_SUMS];
                let want: Vec<f64> = of_rows.collect();
                assert_close("rows", &own[..tile.rows], &want, &want, 1e-6);
                let want: Vec<f64> = of_cols.collect();
                assert_close("columns", &own[TILE..TILE + tile.cols], &want, &want, 1e-6);
                assert!(own[tile.rows..TILE].iter().all(|&sum| sum == -1.0));
            }
        }
    }

    #[test]
    fn moments_are_running_means_of_the_tiles() {
        let (sums, before) = (positive(1, 4 * TILE_SUMS), positive(2, 200));
        // Five rows in two tiles that follow, eight columns in two that do not.
        let lines = [TILE_SUMS as u32, 128, 2, 0, 5, 30, 64, 256, 2, 70, 8, 40];
        for finite in [1.0, 0.0] {
            let stats = [4.0, 0.25, finite, 1.0];
            let operands: [&[f32]; 5] = [&sums, &stats, &HYPERS, &from_words(&lines), &before];
            let mut want: Vec<f64> = before.iter().copied().map(f64::from).collect();
            for [first, step, tiles, moments, len, of] in
                lines.as_chunks::<6>().0.iter().filter(|_| finite == 1.0)
            {
                for i in 0..*len {
                    let of_tile = |tile: u32| f64::from(sums[(first + tile * step + i) as usize]);
                    let mean = (0..*tiles).map(of_tile).sum::<f64>() / f64::from(*of);
                    let moment = &mut want[(moments + i) as usize];
                    *moment = 0.625 * *moment + 0.375 * (mean + 1e-3);
                }
            }
            for got in run("adafactor_moments", &Params { count: 2 }, &operands) {
                assert_close("moments", &got[4], &want, &want, 1e-6);
            }
        }
    }

    #[test]
    fn ratios_are_squared_and_added() {
        let (grad, moments) = (random(1, 160), positive(2, 160));
        let operands: [&[f32]; 5] = [&grad, &STATS, &from_words(&TILES_OF_TWO), &moments, &[-1.0; 3]];
        for got in run("adafactor_ratios", &Params { count: 2 }, &operands) {
            for tile in places() {
                let values = (0..tile.rows).flat_map(|row| (0..tile.cols).map(move |col| [row, col]));
                let want: f64 = values.map(|at| ratio(&grad, &moments, tile, at).powi(2)).sum();
                assert_close("partials", &got[4][tile.number..=tile.number], &[want], &[want], 1e-6);
            }
            assert_eq!(got[4][2], -1.0);
        }
    }

    #[test]
    fn scales_bound_the_root_of_the_mean_square() {
        let (partials, mut moments) = (positive(1, 12), vec![0.0; 128]);
        moments[64..67].copy_from_slice(&[1.0, 2.0, 6.0]);
        let matrices = [64, 64, 3, 5, 1, 11, 64, 64, 3, 1000, 0, 1];
        let operands: [&[f32]; 6] =
            [&partials, &STATS, &HYPERS, &from_words(&matrices), &moments, &[-1.0; 3]];
        let total: f64 = partials[1..].iter().copied().map(f64::from).sum();
        let rms = (total * 3.0 / 15.0).sqrt();
        assert!(rms > 1.0, "the first matrix is bounded");
        let want = [0.125 * 3f64.sqrt() / rms, 0.125 * 3f64.sqrt(), -1.0];
        for got in run("adafactor_scales", &Params { count: 2 }, &operands) {
            assert_close("scales", &got[5], &want, &[1.0; 3], 1e-6);
        }
    }

    #[test]
    fn values_move_by_their_ratios() {
        let (grad, moments, param) = (random(1, 160), positive(2, 160), random(3, 160));
        let tiles = from_words(&TILES_OF_TWO);
        for (decays, finite) in [(1, 1.0), (0, 1.0), (1, 0.0)] {
            let stats = [4.0, 0.25, finite, 1.0];
            let scales = [0.5, 0.25];
            let operands: [&[f32]; 7] = [&grad, &stats, &HYPERS, &tiles, &moments, &scales, &param];
            let mut want: Vec<f64> = param.iter().copied().map(f64::from).collect();
            for tile in places().filter(|_| finite == 1.0) {
                for (row, col) in (0..tile.rows).flat_map(|row| (0..tile.cols).map(move |col| (row, col))) {
                    let decay = if decays == 1 { 0.75 } else { 1.0 };
                    let value = &mut want[tile.row(row).start + col];
                    let step = f64::from(scales[tile.matrix]) * ratio(&grad, &moments, tile, [row, col]);
                    *value = *value * decay - step;
                }
            }
            for got in run("adafactor_update", &UpdateParams { count: 2, decays }, &operands) {
                let norms: Vec<f64> = want.iter().map(|want| want.abs() + 1.0).collect();
                assert_close("param", &got[6], &want, &norms, 1e-6);
            }
        }
    }
}
