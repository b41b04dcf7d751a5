//! Attention from queries to keys and values that lie in rows.

use core::ops::Range;

use super::HIDDEN;
use super::cut::{Block, extent, take, union, within};
use super::tile::{Four, TILE, accumulate, hide, pack_columns, pack_rows, pack_strips, products, width_of};
use crate::args::Args;
use crate::lanes::{ln, map, update};
use crate::params::attention::Params;
use crate::simd::Vector;
use crate::table::Kernel;

/// Operands: q [rows, q_stride], kv [keys, kv_stride], spans [rows, 2], out [rows, out_stride], lse [rows, q_heads].
pub struct Forward;

/// What is known of a row after some tiles.
struct Row<'a> {
    peak: &'a mut f32,
    /// The sum of weights, in lanes.
    total: &'a mut [f32; 8],
    sums: &'a mut [f32],
}

/// Makes weights of the scores of a row, and brings what is known of it to the new maximum.
#[inline(always)]
fn weigh<V: Vector>(scores: &mut [f32; TILE], seen: &Range<usize>, wanted: &Range<usize>, row: Row) {
    if seen.is_empty() {
        scores[wanted.clone()].fill(0.0);
        return;
    }
    let eights = hide(scores, seen, wanted);
    let scores = &mut scores.as_chunks_mut::<8>().0[eights];
    let mut top = V::splat(HIDDEN);
    for eight in scores.iter() {
        top = top.max(V::of(eight));
    }
    let top = top.greatest();
    let mut total = V::of(row.total);
    if top > *row.peak {
        let decay = V::splat(*row.peak - top).exp();
        update([row.sums], [], |[sum]: [V; 1], []| [sum * decay]);
        total = total * decay;
        *row.peak = top;
    }
    let peak = V::splat(*row.peak);
    for eight in scores.iter_mut() {
        let weight = (V::of(eight) - peak).exp();
        weight.put(eight);
        total = total + weight;
    }
    total.put(row.total);
}

impl Kernel for Forward {
    fn tasks(args: &Args) -> u32 {
        Block::count(&args.params())
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, scratch: &mut [f32]) {
        let params: Params = args.params();
        let block = Block::of(&params, task);
        let (dim, width) = (params.dim(), width_of(params.dim()));
        let (q, kv, spans) = (args.input(0), args.input(1), args.words(2).as_chunks::<2>().0);
        let spans = &spans[block.rows.clone()];
        // Rows of a head by fours; one head follows another.
        let height = block.rows.len().next_multiple_of(4);
        let count = height * block.heads.len();

        let mut left = scratch;
        let queries = take(&mut left, count * width);
        let sums = take(&mut left, count * width);
        let peaks = take(&mut left, count);
        let totals = take(&mut left, 8 * count);
        let keys = take(&mut left, TILE * dim);
        let values = take(&mut left, TILE * width);
        for (head, queries) in block.heads.clone().zip(queries.chunks_exact_mut(height * width)) {
            pack_rows::<V>(params.query(q, head), block.rows.clone(), params.scale, queries);
        }
        sums.fill(0.0);
        peaks.fill(HIDDEN);
        totals.fill(0.0);

        let all_seen = extent(spans);
        for start in all_seen.clone().step_by(TILE) {
            let tile = start..all_seen.end.min(start + TILE);
            pack_columns::<V>(params.key(kv, block.kv_head), tile.clone(), 1.0, keys);
            pack_strips::<V>(params.value(kv, block.kv_head), tile.clone(), 1.0, values);
            for first in (0..count).step_by(4) {
                let seen: [Range<usize>; 4] = core::array::from_fn(|i| {
                    within(spans.get(first % height + i).copied().unwrap_or([0, 0]), &tile)
                });
                let wanted = union(&seen);
                if wanted.is_empty() {
                    continue;
                }
                let mut scores: Four = [[0.0; TILE]; 4];
                products::<V>(&queries[first * width..], keys, dim, wanted.clone(), &mut scores);
                for (i, scores) in scores.iter_mut().enumerate() {
                    let row = Row {
                        peak: &mut peaks[first + i],
                        total: &mut totals.as_chunks_mut().0[first + i],
                        sums: &mut sums[(first + i) * width..][..width],
                    };
                    weigh::<V>(scores, &seen[i], &wanted, row);
                }
                accumulate::<V>(&scores, wanted, values, &mut sums[first * width..]);
            }
        }

        let (out, lse) = (args.output(3), args.output(4));
        for (number, head) in block.heads.clone().enumerate() {
            for (i, row) in block.rows.clone().enumerate() {
                let at = number * height + i;
                let start = row * params.out_stride as usize + head * dim;
                let place = row * params.q_heads as usize + head;
                // SAFETY: Blocks of tasks are disjoint.
                let (out, lse) =
                    unsafe { (out.slice(start..start + dim), &mut lse.slice(place..place + 1)[0]) };
                if spans[i][0] >= spans[i][1] {
                    out.fill(0.0);
                    *lse = 0.0;
                    continue;
                }
                let total = V::of(&totals.as_chunks().0[at]).sum();
                let share = V::splat(1.0 / total);
                map([&sums[at * width..][..dim]], out, |[sum]: [V; 1]| sum * share);
                *lse = peaks[at] + ln(total);
            }
        }
        if block.heads.end == params.q_heads as usize {
            for row in block.rows {
                let (start, end) = (row * params.out_stride as usize, (row + 1) * params.out_stride as usize);
                // SAFETY: The block of the last head has the pad lanes of its rows.
                unsafe { out.slice(start + block.heads.end * dim..end) }.fill(0.0);
            }
        }
    }
}
