//! The gradient of the queries, and the row sums that the gradients of keys and values read.

use core::ops::Range;

use super::cut::{Block, extent, take, union, within};
use super::tile::{Four, TILE, accumulate, hide, pack_columns, pack_rows, pack_strips, products, width_of};
use crate::args::Args;
use crate::lanes::{map, sum};
use crate::params::attention::Params;
use crate::simd::Vector;
use crate::table::Kernel;

/// Operands: qkv [rows, kv_stride], out and dout [rows, out_stride], lse [rows, q_heads], spans [rows, 2],
/// delta [rows, q_heads], dqkv [rows, kv_stride], of which the columns from q_offset to k_offset are written.
pub struct BackwardQ;

/// Makes gradients of the scores of a row, from those of its weights.
#[inline(always)]
fn slope<V: Vector>(
    scores: &mut [f32; TILE],
    of_weights: &[f32; TILE],
    seen: &Range<usize>,
    wanted: &Range<usize>,
    [lse, delta]: [f32; 2],
) {
    if seen.is_empty() {
        scores[wanted.clone()].fill(0.0);
        return;
    }
    let eights = hide(scores, seen, wanted);
    let of_weights = &of_weights.as_chunks::<8>().0[eights.clone()];
    let (lse, delta) = (V::splat(lse), V::splat(delta));
    for (score, of_weight) in scores.as_chunks_mut::<8>().0[eights].iter_mut().zip(of_weights) {
        let weight = (V::of(score) - lse).exp();
        (weight * (V::of(of_weight) - delta)).put(score);
    }
}

impl Kernel for BackwardQ {
    fn tasks(args: &Args) -> u32 {
        Block::count(&args.params())
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, scratch: &mut [f32]) {
        let params: Params = args.params();
        let block = Block::of(&params, task);
        let (dim, width, q_heads) = (params.dim(), width_of(params.dim()), params.q_heads as usize);
        let (qkv, out, dout, lse) = (args.input(0), args.input(1), args.input(2), args.input(3));
        let spans = &args.words(4).as_chunks::<2>().0[block.rows.clone()];
        let height = block.rows.len().next_multiple_of(4);
        let count = height * block.heads.len();

        let mut left = scratch;
        let queries = take(&mut left, count * width);
        let gradients = take(&mut left, count * width);
        let sums = take(&mut left, count * width);
        let of_rows = take(&mut left, 2 * count).as_chunks_mut::<2>().0;
        let key_columns = take(&mut left, TILE * dim);
        let value_columns = take(&mut left, TILE * dim);
        let keys = take(&mut left, TILE * width);
        let packed = queries.chunks_exact_mut(height * width).zip(gradients.chunks_exact_mut(height * width));
        for (head, (queries, gradients)) in block.heads.clone().zip(packed) {
            pack_rows::<V>(params.query(qkv, head), block.rows.clone(), params.scale, queries);
            pack_rows::<V>(params.output(dout, head), block.rows.clone(), 1.0, gradients);
        }
        sums.fill(0.0);
        of_rows.fill([0.0; 2]);
        for (number, head) in block.heads.clone().enumerate() {
            for (i, row) in block.rows.clone().enumerate() {
                let (out, dout) = (params.output(out, head).row(row), params.output(dout, head).row(row));
                let delta = sum([out, dout], |sum: V, [out, dout]| out.mul_add(dout, sum));
                let place = row * q_heads + head;
                // SAFETY: Blocks of tasks are disjoint.
                unsafe { args.output(5).slice(place..place + 1)[0] = delta };
                of_rows[number * height + i] = [lse[place], delta];
            }
        }

        let all_seen = extent(spans);
        for start in all_seen.clone().step_by(TILE) {
            let tile = start..all_seen.end.min(start + TILE);
            pack_columns::<V>(params.key(qkv, block.kv_head), tile.clone(), 1.0, key_columns);
            pack_columns::<V>(params.value(qkv, block.kv_head), tile.clone(), 1.0, value_columns);
            pack_strips::<V>(params.key(qkv, block.kv_head), tile.clone(), 1.0, keys);
            for first in (0..count).step_by(4) {
                let seen: [Range<usize>; 4] = core::array::from_fn(|i| {
                    within(spans.get(first % height + i).copied().unwrap_or([0, 0]), &tile)
                });
                let wanted = union(&seen);
                if wanted.is_empty() {
                    continue;
                }
                let (mut scores, mut of_weights): (Four, Four) = ([[0.0; TILE]; 4], [[0.0; TILE]; 4]);
                for (rows, columns, to) in [
                    (&queries[first * width..], &*key_columns, &mut scores),
                    (&gradients[first * width..], &*value_columns, &mut of_weights),
                ] {
                    products::<V>(rows, columns, dim, wanted.clone(), to);
                }
                for (i, scores) in scores.iter_mut().enumerate() {
                    slope::<V>(scores, &of_weights[i], &seen[i], &wanted, of_rows[first + i]);
                }
                accumulate::<V>(&scores, wanted, keys, &mut sums[first * width..]);
            }
        }

        let (dqkv, scale) = (args.output(6), V::splat(params.scale));
        for (number, head) in block.heads.clone().enumerate() {
            for (i, row) in block.rows.clone().enumerate() {
                let start = row * params.q_stride as usize + params.q_offset as usize + head * dim;
                // SAFETY: Blocks of tasks are disjoint.
                let dq = unsafe { dqkv.slice(start..start + dim) };
                let sums = &sums[(number * height + i) * width..][..dim];
                map([sums], dq, |[sum]: [V; 1]| sum * scale);
            }
        }
        if block.heads.end == q_heads {
            for row in block.rows {
                let start = row * params.q_stride as usize;
                let end = params.q_offset as usize + q_heads * dim;
                // SAFETY: The block of the last head has the pad lanes of its rows.
                unsafe { dqkv.slice(start + end..start + params.k_offset as usize) }.fill(0.0);
            }
        }
    }
}
