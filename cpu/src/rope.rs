//! Rotary position embedding of the query and key columns, in place.

use crate::args::Args;
use crate::lanes::{part, update};
use crate::params::rope::Params;
use crate::simd::Vector;
use crate::table::Kernel;

/// Values that a task turns.
const VALUES: u32 = 8192;

fn rows_together(params: &Params) -> u32 {
    (VALUES / ((params.q_heads + params.kv_heads) * params.rotary_dim).max(1)).max(1)
}

/// Operands: qkv [rows, stride], positions [rows], cos and sin [positions, table_stride].
pub struct Rope;

impl Kernel for Rope {
    fn tasks(args: &Args) -> u32 {
        let params: Params = args.params();
        params.rows.div_ceil(rows_together(&params))
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let (half, table_stride) = (params.rotary_dim as usize / 2, params.table_stride as usize);
        let (cos, sin) = (args.input(2), args.input(3));
        let sign = V::splat(params.sign);
        for row in part(task, rows_together(&params), params.rows) {
            // A position past the tables takes their last row, as near as WGSL's checks of bounds.
            let position = (args.words(1)[row] as usize).min((cos.len() / table_stride).max(1) - 1);
            let angles = position * table_stride..position * table_stride + half;
            let (cos, sin) = (&cos[angles.clone()], &sin[angles]);
            for number in 0..params.q_heads + params.kv_heads {
                let column = match number < params.q_heads {
                    true => params.q_offset + number * params.head_dim,
                    false => params.k_offset + (number - params.q_heads) * params.head_dim,
                };
                let start = row * params.stride as usize + column as usize;
                // SAFETY: Rows of tasks are disjoint.
                let head = unsafe { args.output(0).slice(start..start + 2 * half) };
                let (low, high) = head.split_at_mut(half);
                update([low, high], [cos, sin], |[low, high], [cos, sin]: [V; 2]| {
                    let sin = sign * sin;
                    [low * cos - high * sin, high.mul_add(cos, low * sin)]
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, from_words, random, run};

    #[test]
    fn values_turn_with_their_partners_and_others_stay() {
        for (rows, head_dim, rotary_dim) in [(1, 8, 8), (3, 12, 6), (7, 64, 64), (65, 80, 40), (5, 24, 18)] {
            let k_offset = 4 + 3 * head_dim + 4;
            let params = Params {
                rows,
                stride: k_offset + 3 * head_dim,
                q_offset: 4,
                k_offset,
                q_heads: 3,
                kv_heads: 2,
                head_dim,
                rotary_dim,
                sign: 1.0,
                table_stride: rotary_dim / 2 + 3,
            };
            let (rows, stride) = (rows as usize, params.stride as usize);
            let positions: Vec<u32> = (0..rows as u32).map(|row| (5 * row + 2) % 9).collect();
            let table = params.table_stride as usize;
            let (cos, sin) = (random(1, 9 * table), random(2, 9 * table));
            let qkv = random(3, rows * stride);
            for sign in [1.0, -1.0] {
                let params = Params { sign, ..params };
                let half = rotary_dim as usize / 2;
                let mut want: Vec<f64> = qkv.iter().map(|&x| f64::from(x)).collect();
                for (row, &position) in positions.iter().enumerate() {
                    let query = (0..3).map(|head| 4 + head * head_dim);
                    for column in query.chain((0..2).map(|head| k_offset + head * head_dim)) {
                        for i in 0..half {
                            let low = row * stride + column as usize + i;
                            let entry = position as usize * table + i;
                            let (c, s) = (f64::from(cos[entry]), f64::from(sign * sin[entry]));
                            let (a, b) = (f64::from(qkv[low]), f64::from(qkv[low + half]));
                            (want[low], want[low + half]) = (a * c - b * s, b * c + a * s);
                        }
                    }
                }
                let norms = vec![1.0; want.len()];
                for got in run("rope", &params, &[&qkv, &from_words(&positions), &cos, &sin]) {
                    assert_close("qkv", &got[0], &want, &norms, 3e-7);
                }
            }
        }
    }
}
