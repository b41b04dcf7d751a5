//! Appending to the cache against its twin: a copy, so bit for bit.

use tabtune::kernels::kv_append::{self, Params, SKIP};
use tabtune::reference;

use crate::harness::Harness;

#[test]
fn appends_where_it_is_told_and_nowhere_else() {
    for mut h in Harness::each() {
        for (rows, kv_width, gap) in [(1, 4, 0), (1, 192, 4), (5, 12, 4), (8, 64, 0), (33, 132, 8)] {
            let params = Params {
                rows,
                qkv_stride: 3 * (kv_width + gap),
                k_offset: kv_width,
                v_offset: 2 * kv_width + gap,
                kv_width,
                cache_stride: 2 * kv_width + gap,
            };
            let places = 2 * rows + 3;
            let positions: Vec<u32> =
                (0..rows).map(|row| if row % 4 == 3 { SKIP } else { (row * 2 + 1) % places }).collect();
            let qkv = h.random(1, (rows * params.qkv_stride) as usize, -1.0, 1.0);
            let mut want = h.random(2, (places * params.cache_stride) as usize, -1.0, 1.0);

            let (qkv_in, positions_in, cache) = (h.input(&qkv), h.input_u32(&positions), h.input(&want));
            h.run(|rec| kv_append::apply(rec, params, qkv_in, positions_in, cache));
            reference::kv_append::apply(&params, &qkv, &positions, &mut want);
            let got: Vec<f32> = h.read(cache);
            for (index, (got, want)) in got.iter().zip(&want).enumerate() {
                assert_eq!(got.to_bits(), want.to_bits(), "{params:?}: element {index} is {got}, not {want}");
            }
        }
    }
}
