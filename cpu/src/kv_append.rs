//! Appends the keys and values of new tokens to the cache of generation.

use crate::args::Args;
use crate::lanes::{part, rows_together};
use crate::params::kv_append::{Params, SKIP};
use crate::simd::Vector;
use crate::table::Kernel;

/// Operands: qkv [rows, qkv_stride], positions [rows], cache [positions, cache_stride].
pub struct KvAppend;

impl Kernel for KvAppend {
    fn tasks(args: &Args) -> u32 {
        let params: Params = args.params();
        params.rows.div_ceil(rows_together(2 * params.kv_width))
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let (qkv, positions, cache) = (args.input(0), args.words(1), args.output(2));
        let width = params.kv_width as usize;
        for row in part(task, rows_together(2 * params.kv_width), params.rows) {
            if positions[row] == SKIP {
                continue;
            }
            let to = positions[row] as usize * params.cache_stride as usize;
            // SAFETY: Positions differ from one another.
            let (keys, values) = unsafe { cache.slice(to..to + 2 * width) }.split_at_mut(width);
            let from = &qkv[row * params.qkv_stride as usize..];
            keys.copy_from_slice(&from[params.k_offset as usize..][..width]);
            values.copy_from_slice(&from[params.v_offset as usize..][..width]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{from_words, random, run};

    #[test]
    fn keys_come_before_values_and_other_rows_stay() {
        for width in [4, 192] {
            let params = Params {
                rows: 3,
                qkv_stride: 3 * width + 12,
                k_offset: 4,
                v_offset: width + 8,
                kv_width: width,
                cache_stride: 2 * width + 4,
            };
            let stride = params.cache_stride as usize;
            let (qkv, cache) = (random(1, 3 * params.qkv_stride as usize), random(2, 5 * stride));
            let mut want = cache.clone();
            for (row, place) in [(0, 4), (2, 1)] {
                let from = &qkv[row * params.qkv_stride as usize..];
                let to = &mut want[place * stride..];
                for i in 0..width as usize {
                    to[i] = from[params.k_offset as usize + i];
                    to[width as usize + i] = from[params.v_offset as usize + i];
                }
            }
            for got in run("kv_append", &params, &[&qkv, &from_words(&[4, SKIP, 1]), &cache]) {
                assert_eq!(got[2], want);
            }
        }
    }
}
