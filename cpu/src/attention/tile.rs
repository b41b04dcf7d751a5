//! Packed tiles, and the two products that attention is made of: of four rows with the columns of a tile, and of four
//! rows of weights with its rows.

use core::ops::Range;

use super::HIDDEN;
use super::cut::Head;
use crate::lanes::{load, map};
use crate::simd::Vector;

/// Keys, or rows in the gradients of keys, that are looked at together.
///
/// Few, so that the packed panels of a tile stay in the nearest cache.
pub const TILE: usize = 32;

/// Features of a head whose products are added in one go: short sums are rounded less.
const FEATURES: usize = 16;

/// Vectors of four rows that are summed at a time. V8 has the two halves of a vector in registers of their own, of which
/// there are 16.
const TOGETHER: usize = if cfg!(target_arch = "wasm32") { 1 } else { 2 };

/// Weights or scores of four rows.
pub type Four = [[f32; TILE]; 4];

/// The columns of a packed row: head_dim with zeros up to a multiple of 16.
pub fn width_of(dim: usize) -> usize {
    dim.next_multiple_of(16)
}

/// Packs rows of a head, times `factor`, as [rows, width] with zeros behind them up to the end of `out`.
#[inline(always)]
pub fn pack_rows<V: Vector>(head: Head, rows: Range<usize>, factor: f32, out: &mut [f32]) {
    let factor = V::splat(factor);
    let mut packed = out.chunks_exact_mut(width_of(head.dim));
    for (row, packed) in rows.zip(&mut packed) {
        let (values, pads) = packed.split_at_mut(head.dim);
        map([head.row(row)], values, |[value]: [V; 1]| value * factor);
        pads.fill(0.0);
    }
    packed.for_each(|packed| packed.fill(0.0));
}

/// Packs rows of a head, times `factor`, in strips of 16 columns: [width / 16, TILE, 16].
#[inline(always)]
pub fn pack_strips<V: Vector>(head: Head, rows: Range<usize>, factor: f32, out: &mut [f32]) {
    let factor = V::splat(factor);
    for (i, row) in rows.enumerate() {
        let row = head.row(row);
        for (strip, out) in out.chunks_exact_mut(16 * TILE).enumerate() {
            let (eights, _) = out[16 * i..][..16].as_chunks_mut::<8>();
            for (half, eight) in eights.iter_mut().enumerate() {
                (load::<V>(row, 16 * strip + 8 * half) * factor).put(eight);
            }
        }
    }
}

/// Packs rows of a head, times `factor`, as columns: [rows / 16, head_dim, 16], with zeros for rows that are missing in
/// the last eight.
#[inline(always)]
pub fn pack_columns<V: Vector>(head: Head, rows: Range<usize>, factor: f32, out: &mut [f32]) {
    let factor = V::splat(factor);
    for (number, first) in rows.clone().step_by(8).enumerate() {
        let panel = &mut out[number / 2 * 16 * head.dim..][..16 * head.dim];
        let mut d = 0;
        while d < head.dim {
            let mut eights = [V::zero(); 8];
            for (i, eight) in eights.iter_mut().enumerate() {
                if first + i < rows.end {
                    *eight = load::<V>(head.row(first + i), d) * factor;
                }
            }
            let columns = V::transposed(eights);
            for (column, panel) in columns.into_iter().zip(panel[16 * d..].as_chunks_mut::<16>().0) {
                let (halves, _) = panel.as_chunks_mut::<8>();
                column.put(&mut halves[number % 2]);
            }
            d += 8;
        }
    }
}

/// The products of four packed rows with the packed columns that `wanted` touches, written to their places in `scores`.
#[inline(always)]
pub fn products<V: Vector>(
    rows: &[f32],
    columns: &[f32],
    dim: usize,
    wanted: Range<usize>,
    scores: &mut Four,
) {
    let width = width_of(dim);
    let mut row = [&rows[..dim]; 4];
    for (i, row) in row.iter_mut().enumerate() {
        *row = &rows[i * width..][..dim];
    }
    let wanted = wanted.start / 8 / TOGETHER * TOGETHER..wanted.end.div_ceil(8);
    for first in wanted.step_by(TOGETHER) {
        let panel = &columns[first / 2 * 16 * dim..].as_chunks::<16>().0[..dim];
        for start in (0..dim).step_by(FEATURES) {
            let features = start..dim.min(start + FEATURES);
            let mut sums = [[V::zero(); TOGETHER]; 4];
            let mut factors = [&row[0][..0]; 4];
            for (factors, row) in factors.iter_mut().zip(row) {
                *factors = &row[features.clone()];
            }
            for (d, sixteen) in panel[features].iter().enumerate() {
                let column = eights::<V>(sixteen, first % 2);
                for i in 0..4 {
                    let factor = V::splat(factors[i][d]);
                    for (sum, column) in sums[i].iter_mut().zip(column) {
                        *sum = factor.mul_add(column, *sum);
                    }
                }
            }
            for (scores, sums) in scores.iter_mut().zip(sums) {
                let (places, _) = scores.as_chunks_mut::<8>();
                for (eight, sum) in places[first..].iter_mut().zip(sums) {
                    let sum = if start == 0 { sum } else { V::of(eight) + sum };
                    sum.put(eight);
                }
            }
        }
    }
}

/// The vectors of sixteen values from number `first` on that are treated at a time.
#[inline(always)]
fn eights<V: Vector>(sixteen: &[f32; 16], first: usize) -> [V; TOGETHER] {
    let (halves, _) = sixteen.as_chunks::<8>();
    let mut eights = [V::zero(); TOGETHER];
    for (eight, half) in eights.iter_mut().zip(&halves[first..]) {
        *eight = V::of(half);
    }
    eights
}

/// Adds to four rows of `sums` the products of their weights with the rows in `wanted`, packed in strips.
#[inline(always)]
pub fn accumulate<V: Vector>(weights: &Four, wanted: Range<usize>, strips: &[f32], sums: &mut [f32]) {
    let width = strips.len() / TILE;
    let mut weight = [&weights[0][..0]; 4];
    for (weight, weights) in weight.iter_mut().zip(weights) {
        *weight = &weights[wanted.clone()];
    }
    for first in (0..width / 8).step_by(TOGETHER) {
        let strip = &strips[first / 2 * 16 * TILE..].as_chunks::<16>().0[wanted.clone()];
        let mut own = [[V::zero(); TOGETHER]; 4];
        for (own, sums) in own.iter_mut().zip(sums.chunks_exact(width)) {
            for (own, eight) in own.iter_mut().zip(&sums.as_chunks::<8>().0[first..]) {
                *own = V::of(eight);
            }
        }
        for (n, sixteen) in strip.iter().enumerate() {
            let row = eights::<V>(sixteen, first % 2);
            for i in 0..4 {
                let factor = V::splat(weight[i][n]);
                for (own, row) in own[i].iter_mut().zip(row) {
                    *own = factor.mul_add(row, *own);
                }
            }
        }
        for (own, sums) in own.into_iter().zip(sums.chunks_exact_mut(width)) {
            for (own, eight) in own.into_iter().zip(&mut sums.as_chunks_mut::<8>().0[first..]) {
                own.put(eight);
            }
        }
    }
}

/// The eights that `wanted` touches, of which `scores` become hidden outside of `seen`.
#[inline(always)]
pub fn hide(scores: &mut [f32; TILE], seen: &Range<usize>, wanted: &Range<usize>) -> Range<usize> {
    let eights = wanted.start / 8..wanted.end.div_ceil(8);
    scores[8 * eights.start..seen.start].fill(HIDDEN);
    scores[seen.end..8 * eights.end].fill(HIDDEN);
    eights
}
