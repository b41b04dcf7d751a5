//! Attention of few rows, each with a span of its own in a cache, as generation has it.

use super::HIDDEN;
use super::cut::{Head, take};
use crate::args::Args;
use crate::lanes::{ln, load, store, update};
use crate::params::attention::Params;
use crate::simd::Vector;
use crate::table::Kernel;

/// Keys that are looked at together, which all heads of a task do before the next.
const TILE: usize = 128;

/// From so many tasks on, the query heads of a key/value head are one task.
const ENOUGH: u32 = 16;

/// Query heads that a task has.
fn together(params: &Params) -> u32 {
    if params.rows * params.kv_heads >= ENOUGH { params.q_heads / params.kv_heads } else { 1 }
}

/// Operands: q [rows, q_stride], kv [keys, kv_stride], spans [rows, 2], out [rows, out_stride], lse [rows, q_heads].
pub struct Decode;

/// Scores of `query` with the keys from `first` to `end`, and hidden ones up to the next eight.
#[inline(always)]
fn score<V: Vector>(query: &[f32], keys: Head, first: usize, end: usize, scores: &mut [[f32; 8]]) {
    let place = V::of(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    for (number, eight) in scores.iter_mut().enumerate() {
        let key = first + 8 * number;
        let mut sums = [V::zero(); 8];
        // Four chains of sums at a time stay in registers.
        for (four, sums) in sums.chunks_exact_mut(4).enumerate() {
            let mut rows = [&query[..0]; 4];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = &keys.row((key + 4 * four + i).min(end - 1))[..query.len()];
            }
            let mut d = 0;
            while d < query.len() {
                let factor = load::<V>(query, d);
                for (sum, row) in sums.iter_mut().zip(rows) {
                    *sum = factor.mul_add(load(row, d), *sum);
                }
                d += 8;
            }
        }
        let mut total = V::zero();
        for column in V::transposed(sums) {
            total = total + column;
        }
        let is_seen = place.less(V::splat((end - key) as f32));
        V::select(is_seen, total, V::splat(HIDDEN)).put(eight);
    }
}

/// Adds to `sums` the values from `first` on, each times its weight.
#[inline(always)]
fn accumulate<V: Vector>(weights: &[f32], values: Head, first: usize, sums: &mut [f32]) {
    // Four eights of columns at a time stay in registers.
    let mut column = 0;
    while column < values.dim {
        let mut own = [V::zero(); 4];
        for (i, own) in own.iter_mut().enumerate() {
            *own = load(sums, column + 8 * i);
        }
        for (i, &weight) in weights.iter().enumerate() {
            let row = values.row(first + i);
            for (i, own) in own.iter_mut().enumerate() {
                *own = V::splat(weight).mul_add(load(row, column + 8 * i), *own);
            }
        }
        for (i, own) in own.into_iter().enumerate() {
            if column + 8 * i < sums.len() {
                store(own, sums, column + 8 * i);
            }
        }
        column += 32;
    }
}

impl Kernel for Decode {
    fn tasks(args: &Args) -> u32 {
        let params: Params = args.params();
        (params.rows - params.first_row) * params.q_heads / together(&params)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, scratch: &mut [f32]) {
        let params: Params = args.params();
        let (together, dim) = (together(&params), params.dim());
        let per_row = params.q_heads / together;
        let row = (params.first_row + task / per_row) as usize;
        let first_head = (task % per_row * together) as usize;
        let heads = first_head..first_head + together as usize;
        let kv_head = first_head / (params.q_heads / params.kv_heads) as usize;
        let (q, kv) = (args.input(0), args.input(1));
        let [begin, end] = args.words(2).as_chunks::<2>().0[row].map(|key| key as usize);

        let mut left = scratch;
        let queries = take(&mut left, heads.len() * dim);
        let sums = take(&mut left, heads.len() * dim);
        let states = take(&mut left, 2 * heads.len()).as_chunks_mut::<2>().0;
        for (head, query) in heads.clone().zip(queries.chunks_exact_mut(dim)) {
            let scale = V::splat(params.scale);
            query.copy_from_slice(params.query(q, head).row(row));
            update([query], [], |[value]: [V; 1], []| [value * scale]);
        }
        sums.fill(0.0);
        states.fill([HIDDEN, 0.0]);
        for first in (begin..end).step_by(TILE) {
            let tile_end = end.min(first + TILE);
            let of_heads = queries.chunks_exact(dim).zip(sums.chunks_exact_mut(dim)).zip(&mut *states);
            for ((query, sums), [peak, total]) in of_heads {
                let mut scores = [[HIDDEN; 8]; TILE / 8];
                let scores = &mut scores[..(tile_end - first).div_ceil(8)];
                score::<V>(query, params.key(kv, kv_head), first, tile_end, scores);
                let mut top = V::splat(*peak);
                for eight in scores.iter() {
                    top = top.max(V::of(eight));
                }
                let top = top.greatest();
                let decay = V::splat(*peak - top).exp();
                let mut grown = V::zero();
                for eight in scores.iter_mut() {
                    let weight = (V::of(eight) - V::splat(top)).exp();
                    weight.put(eight);
                    grown = grown + weight;
                }
                *total = *total * decay.to_array()[0] + grown.sum();
                *peak = top;
                update([&mut *sums], [], |[sum]: [V; 1], []| [sum * decay]);
                let weights = &scores.as_flattened()[..tile_end - first];
                accumulate::<V>(weights, params.value(kv, kv_head), first, sums);
            }
        }

        let (out, lse) = (args.output(3), args.output(4));
        let of_heads = heads.clone().zip(sums.chunks_exact_mut(dim)).zip(&*states);
        for ((head, sums), &[peak, total]) in of_heads {
            let start = row * params.out_stride as usize + head * dim;
            let place = row * params.q_heads as usize + head;
            let sees_some = begin < end;
            let share = V::splat(if sees_some { 1.0 / total } else { 1.0 });
            update([&mut *sums], [], |[sum]: [V; 1], []| [sum * share]);
            // SAFETY: Rows and heads of tasks are disjoint.
            unsafe {
                out.slice(start..start + dim).copy_from_slice(sums);
                lse.slice(place..place + 1)[0] = if sees_some { peak + ln(total) } else { 0.0 };
            }
        }
        if heads.end == params.q_heads as usize {
            let (start, end) = (row * params.out_stride as usize, (row + 1) * params.out_stride as usize);
            // SAFETY: The task of the last head has the pad lanes of its row.
            unsafe { out.slice(start + heads.end * dim..end) }.fill(0.0);
        }
    }
}
