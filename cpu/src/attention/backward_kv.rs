//! The gradients of keys and values. Every query head of a group adds to its one key/value head.

use core::ops::Range;

use super::cut::{KeyBlock, take, union, within};
use super::tile::{Four, TILE, accumulate, hide, pack_columns, pack_rows, pack_strips, products, width_of};
use crate::args::Args;
use crate::params::attention::Params;
use crate::simd::Vector;
use crate::table::Kernel;

/// Operands: qkv [rows, kv_stride], dout [rows, out_stride], lse and delta [rows, q_heads], last [rows],
/// dqkv [rows, kv_stride], of which the columns from k_offset on are written.
pub struct BackwardKv;

/// Makes weights of the scores of a key with the rows of a tile, and gradients of the scores of those of the weights.
#[inline(always)]
fn slope<V: Vector>(
    scores: &mut [f32; TILE],
    of_weights: &mut [f32; TILE],
    seen: &Range<usize>,
    wanted: &Range<usize>,
    [lse, delta]: [&[f32; TILE]; 2],
) {
    if seen.is_empty() {
        scores[wanted.clone()].fill(0.0);
        of_weights[wanted.clone()].fill(0.0);
        return;
    }
    let eights = hide(scores, seen, wanted);
    let scores = &mut scores.as_chunks_mut::<8>().0[eights.clone()];
    let of_weights = &mut of_weights.as_chunks_mut::<8>().0[eights.clone()];
    let (lse, delta) = (&lse.as_chunks::<8>().0[eights.clone()], &delta.as_chunks::<8>().0[eights]);
    for (i, (score, of_weight)) in scores.iter_mut().zip(of_weights).enumerate() {
        let weight = (V::of(score) - V::of(&lse[i])).exp();
        weight.put(score);
        (weight * (V::of(of_weight) - V::of(&delta[i]))).put(of_weight);
    }
}

impl Kernel for BackwardKv {
    fn tasks(args: &Args) -> u32 {
        KeyBlock::count(&args.params())
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, scratch: &mut [f32]) {
        let params: Params = args.params();
        let KeyBlock { keys, kv_head } = KeyBlock::of(&params, task);
        let (dim, width, q_heads) = (params.dim(), width_of(params.dim()), params.q_heads as usize);
        let (qkv, dout, lse, delta) = (args.input(0), args.input(1), args.input(2), args.input(3));
        let last = &args.words(4)[keys.clone()];
        let count = keys.len().next_multiple_of(4);

        let mut left = scratch;
        let key_rows = take(&mut left, count * width);
        let value_rows = take(&mut left, count * width);
        let key_sums = take(&mut left, count * width);
        let value_sums = take(&mut left, count * width);
        let query_columns = take(&mut left, TILE * dim);
        let gradient_columns = take(&mut left, TILE * dim);
        let query_rows = take(&mut left, TILE * width);
        let gradient_rows = take(&mut left, TILE * width);
        pack_rows::<V>(params.key(qkv, kv_head), keys.clone(), 1.0, key_rows);
        pack_rows::<V>(params.value(qkv, kv_head), keys.clone(), 1.0, value_rows);
        key_sums.fill(0.0);
        value_sums.fill(0.0);

        let end = last.iter().copied().max().unwrap_or(0) as usize;
        let group = q_heads / params.kv_heads as usize;
        for head in kv_head * group..(kv_head + 1) * group {
            for start in (keys.start..end).step_by(TILE) {
                let tile = start..end.min(start + TILE);
                let (queries, gradients) = (params.query(qkv, head), params.output(dout, head));
                for (rows, factor, columns) in
                    [(queries, params.scale, &mut *query_columns), (gradients, 1.0, &mut *gradient_columns)]
                {
                    pack_columns::<V>(rows, tile.clone(), factor, columns);
                }
                for (rows, factor, packed) in
                    [(queries, params.scale, &mut *query_rows), (gradients, 1.0, &mut *gradient_rows)]
                {
                    pack_strips::<V>(rows, tile.clone(), factor, packed);
                }
                let (mut of_lse, mut of_delta) = ([0.0; TILE], [0.0; TILE]);
                for (i, row) in tile.clone().enumerate() {
                    (of_lse[i], of_delta[i]) = (lse[row * q_heads + head], delta[row * q_heads + head]);
                }
                for first in (0..count).step_by(4) {
                    let seen: [Range<usize>; 4] = core::array::from_fn(|i| {
                        let key = (keys.start + first + i) as u32;
                        // A key that no row sees has its last row before itself.
                        within([key, last.get(first + i).copied().unwrap_or(0).max(key)], &tile)
                    });
                    let wanted = union(&seen);
                    if wanted.is_empty() {
                        continue;
                    }
                    let (mut scores, mut of_weights): (Four, Four) = ([[0.0; TILE]; 4], [[0.0; TILE]; 4]);
                    for (rows, columns, to) in [
                        (&key_rows[first * width..], &*query_columns, &mut scores),
                        (&value_rows[first * width..], &*gradient_columns, &mut of_weights),
                    ] {
                        products::<V>(rows, columns, dim, wanted.clone(), to);
                    }
                    for i in 0..4 {
                        let of_rows = [&of_lse, &of_delta];
                        slope::<V>(&mut scores[i], &mut of_weights[i], &seen[i], &wanted, of_rows);
                    }
                    for (weights, rows, sums) in [
                        (&scores, &*gradient_rows, &mut value_sums[first * width..]),
                        (&of_weights, &*query_rows, &mut key_sums[first * width..]),
                    ] {
                        accumulate::<V>(weights, wanted.clone(), rows, sums);
                    }
                }
            }
        }

        let dqkv = args.output(5);
        let kv_heads = params.kv_heads as usize;
        let [k_offset, v_offset, stride] =
            [params.k_offset, params.v_offset, params.kv_stride].map(|size| size as usize);
        for (i, key) in keys.enumerate() {
            // SAFETY: Blocks of tasks are disjoint, and that of the last head has the pad lanes of its rows.
            let columns = |columns: Range<usize>| unsafe {
                dqkv.slice(key * stride + columns.start..key * stride + columns.end)
            };
            let of_head = |offset: usize| columns(offset + kv_head * dim..offset + (kv_head + 1) * dim);
            of_head(k_offset).copy_from_slice(&key_sums[i * width..][..dim]);
            of_head(v_offset).copy_from_slice(&value_sums[i * width..][..dim]);
            if kv_head + 1 == kv_heads {
                columns(k_offset + kv_heads * dim..v_offset).fill(0.0);
                columns(v_offset + kv_heads * dim..stride).fill(0.0);
            }
        }
    }
}
