//! Rotary embedding against its twin.

use tabtune::kernels::rope::{self, Params};
use tabtune::reference;

use crate::harness::{Harness, assert_close};

const POSITIONS: usize = 300;

/// Rows, query heads, key heads, head_dim, rotary_dim.
const SIZES: [[u32; 5]; 11] = [
    [1, 1, 1, 4, 4],
    [3, 6, 2, 12, 12],
    [7, 1, 0, 64, 64],
    [16, 3, 3, 80, 80],
    [17, 9, 3, 64, 64],
    [130, 2, 1, 128, 128],
    [5, 4, 1, 256, 256],
    [97, 6, 2, 32, 32],
    [33, 3, 1, 128, 96],
    [7, 2, 2, 8, 6],
    [5, 1, 1, 16, 2],
];

/// Features outside the query and key heads: before them, between them and behind them.
const GAP: u32 = 4;

#[test]
fn turns_queries_and_keys_and_turns_them_back() {
    for mut h in Harness::each() {
        for [rows, q_heads, kv_heads, head_dim, rotary_dim] in SIZES {
            let k_offset = 2 * GAP + q_heads * head_dim;
            let stride = (k_offset + kv_heads * head_dim + GAP).next_multiple_of(8);
            let table_stride = rotary_dim / 2 + 1;
            let params = Params {
                rows,
                stride,
                q_offset: GAP,
                k_offset,
                q_heads,
                kv_heads,
                head_dim,
                rotary_dim,
                sign: 1.0,
                table_stride,
            };
            let angles = h.random(2, POSITIONS * table_stride as usize, -7.0, 7.0);
            let cos: Vec<f32> = angles.iter().map(|angle| angle.cos()).collect();
            let sin: Vec<f32> = angles.iter().map(|angle| angle.sin()).collect();
            let positions: Vec<u32> = (0..rows).map(|row| row * 89 % POSITIONS as u32).collect();
            let qkv = h.random(1, (rows * stride) as usize, -2.0, 2.0);

            let (positions_in, cos_in, sin_in) = (h.input_u32(&positions), h.input(&cos), h.input(&sin));
            let got = h.input(&qkv);
            h.run(|rec| rope::apply(rec, params, got, positions_in, cos_in, sin_in));
            let turned: Vec<f32> = h.read(got);
            let mut want = qkv.clone();
            reference::rope::apply(&params, &mut want, &positions, &cos, &sin);
            // Two products and a sum of values below 3.
            assert_close(&format!("rope {params:?}"), &turned, &want, 5e-7);

            let back = Params { sign: -1.0, ..params };
            h.run(|rec| rope::apply(rec, back, got, positions_in, cos_in, sin_in));
            assert_close(&format!("rope back {params:?}"), &h.read(got), &qkv, 2e-6);
        }
    }
}
