//! Attention against its twin, which is naive and computes in f64.

use tabtune::kernels::attention::{self, Backward, Params};
use tabtune::reference;

use crate::harness::{Harness, assert_close, to_f32, to_f64};

/// Query heads, key/value heads, head_dim; sizes around each variant and around a vec4 per lane.
const SHAPES: [[u32; 3]; 9] = [
    [1, 1, 4],
    [6, 2, 12],
    [3, 1, 12],
    [4, 4, 32],
    [9, 3, 64],
    [6, 2, 68],
    [2, 1, 80],
    [2, 2, 128],
    [4, 1, 256],
];

/// Outputs and their gradients are sums, over at most some 400 terms, of products of numbers below
/// 4; the weights carry the rounding of scores below 10. f32 rounds each by 6e-8.
const TOLERANCE: f32 = 1e-5;

/// A window that hides nothing.
const ALL: usize = usize::MAX / 2;

/// One stacked projection, in which each part begins at a multiple of 8.
fn stacked(rows: usize, [q_heads, kv_heads, head_dim]: [u32; 3]) -> Params {
    let k_offset = (q_heads * head_dim).next_multiple_of(8);
    let v_offset = k_offset + (kv_heads * head_dim).next_multiple_of(8);
    let stride = v_offset + (kv_heads * head_dim).next_multiple_of(8);
    Params {
        rows: rows as u32,
        q_stride: stride,
        q_offset: 0,
        kv_stride: stride,
        k_offset,
        v_offset,
        out_stride: k_offset,
        q_heads,
        kv_heads,
        head_dim,
        scale: 1.0 / (head_dim as f32).sqrt(),
        first_row: 0,
    }
}

/// Spans of packed segments of the given lengths, seen through a window, with `dead` rows behind
/// them; and for each key the end of the rows that see it.
fn packed(lengths: &[usize], window: usize, dead: usize) -> (Vec<[u32; 2]>, Vec<u32>) {
    let (mut spans, mut last) = (Vec::new(), Vec::new());
    for length in lengths {
        let start = spans.len();
        for row in start..start + length {
            spans.push([start.max((row + 1).saturating_sub(window)) as u32, row as u32 + 1]);
            last.push((start + length).min(row + window) as u32);
        }
    }
    spans.resize(spans.len() + dead, [0, 0]);
    last.resize(spans.len(), 0);
    (spans, last)
}

/// Runs forward and backward and compares all that they write.
fn check(
    h: &mut Harness,
    shape: [u32; 3],
    (spans, last): (Vec<[u32; 2]>, Vec<u32>),
    range: f32,
    tolerance: f32,
) {
    let rows = spans.len();
    let params = stacked(rows, shape);
    let (width, out_width) = (rows * params.kv_stride as usize, rows * params.out_stride as usize);
    let qkv = h.random(1, width, -range, range);
    let dout = h.random(2, out_width, -1.0, 1.0);

    let (qkv_in, dout_in) = (h.input(&qkv), h.input(&dout));
    let (spans_in, last_in) = (h.input_u32(spans.as_flattened()), h.input_u32(&last));
    let (out, dqkv) = (h.output(out_width), h.output(width));
    let (lse, delta) = (h.output(rows * shape[0] as usize), h.output(rows * shape[0] as usize));
    h.run(|rec| {
        attention::forward(rec, params, qkv_in, qkv_in, spans_in, out, lse);
        attention::backward(
            rec,
            params,
            Backward { qkv: qkv_in, out, dout: dout_in, lse, spans: spans_in, last: last_in, delta, dqkv },
        );
    });

    let qkv = to_f64(&qkv);
    let (want_out, want_lse) = reference::attention::forward(&params, &qkv, &qkv, &spans);
    let want_dqkv = reference::attention::backward(&params, &qkv, &to_f64(&dout), &spans);
    let what = format!("heads, kv heads, dim {shape:?}, rows {rows}");
    assert_close(&format!("attention_forward out, {what}"), &h.read(out), &to_f32(&want_out), tolerance);
    assert_close(&format!("attention_forward lse, {what}"), &h.read(lse), &to_f32(&want_lse), tolerance);
    assert_close(&format!("attention_backward, {what}"), &h.read(dqkv), &to_f32(&want_dqkv), tolerance);
}

#[test]
fn any_number_of_rows() {
    for mut h in Harness::all() {
        for rows in
            [1, 2, 3, 5, 8, 13, 15, 16, 17, 31, 32, 33, 47, 49, 63, 64, 65, 79, 81, 97, 127, 128, 129, 130]
        {
            check(&mut h, [6, 2, 12], packed(&[rows], ALL, 0), 2.0, TOLERANCE);
        }
    }
}

#[test]
fn any_shape_of_heads() {
    for mut h in Harness::all() {
        for shape in SHAPES {
            check(&mut h, shape, packed(&[130], ALL, 0), 2.0, TOLERANCE);
            check(&mut h, shape, packed(&[1, 17, 2, 64, 16], ALL, 4), 2.0, TOLERANCE);
        }
    }
}

#[test]
fn segments_windows_and_dead_rows() {
    for mut h in Harness::all() {
        for window in [1, 2, 16, 24, 65, ALL] {
            for lengths in [&[130][..], &[3, 1, 1, 40, 7, 15, 16, 17], &[15, 65, 66]] {
                check(&mut h, [6, 2, 12], packed(lengths, window, 7), 2.0, TOLERANCE);
            }
        }
        check(&mut h, [6, 2, 12], packed(&[5], 3, 43), 2.0, TOLERANCE);
        check(&mut h, [6, 2, 12], packed(&[], 3, 8), 2.0, TOLERANCE);
    }
}

/// Scores in the thousands: exp() of them would overflow, and mostly one weight is nearly 1. Where it is
/// not, the rounding of the scores, some 1e-4, goes into the weights, and from them into values of 30.
#[test]
fn large_scores() {
    for mut h in Harness::all() {
        check(&mut h, [6, 2, 64], packed(&[100, 30], ALL, 6), 30.0, 2e-3);
    }
}

/// Generation: queries of some rows, keys and values in a cache whose unused rows hold anything.
#[test]
fn decodes_from_a_cache() {
    for mut h in Harness::each() {
        for shape in SHAPES {
            let [q_heads, kv_heads, head_dim] = shape;
            let kv_width = kv_heads * head_dim;
            let places = 420;
            let spans = [[0, 1], [1, 64], [64, 128], [129, 194], [200, 400], [7, 7], [3, 66]];
            let params =
                Params { kv_stride: 2 * kv_width + 4, k_offset: 0, v_offset: kv_width, ..stacked(7, shape) };
            let q = h.random(1, (params.rows * params.q_stride) as usize, -2.0, 2.0);
            let mut cache = h.random(2, (places * params.kv_stride) as usize, -2.0, 2.0);
            for row in [128, 194, 199, 400, 419] {
                cache[(row * params.kv_stride) as usize..][..params.kv_stride as usize].fill(f32::NAN);
            }

            let (q_in, cache_in, spans_in) =
                (h.input(&q), h.input(&cache), h.input_u32(spans.as_flattened()));
            let out = h.output((params.rows * params.out_stride) as usize);
            let lse = h.output((params.rows * q_heads) as usize);
            h.run(|rec| attention::decode(rec, params, q_in, cache_in, spans_in, out, lse));
            let (want_out, want_lse) =
                reference::attention::forward(&params, &to_f64(&q), &to_f64(&cache), &spans);
            assert_close(
                &format!("attention_decode out, {shape:?}"),
                &h.read(out),
                &to_f32(&want_out),
                TOLERANCE,
            );
            assert_close(
                &format!("attention_decode lse, {shape:?}"),
                &h.read(lse),
                &to_f32(&want_lse),
                TOLERANCE,
            );
        }
    }
}

#[test]
fn decodes_one_row() {
    for mut h in Harness::all() {
        for shape in SHAPES {
            let [q_heads, kv_heads, head_dim] = shape;
            let kv_width = kv_heads * head_dim;
            let params =
                Params { kv_stride: 2 * kv_width, k_offset: 0, v_offset: kv_width, ..stacked(1, shape) };
            let q = h.random(1, params.q_stride as usize, -2.0, 2.0);
            let mut cache = h.random(2, (150 * params.kv_stride) as usize, -2.0, 2.0);
            cache[(131 * params.kv_stride) as usize..].fill(f32::NAN);
            let spans = [[0, 131]];

            let (q_in, cache_in, spans_in) =
                (h.input(&q), h.input(&cache), h.input_u32(spans.as_flattened()));
            let (out, lse) = (h.output(params.out_stride as usize), h.output(q_heads as usize));
            h.run(|rec| attention::decode(rec, params, q_in, cache_in, spans_in, out, lse));
            let (want_out, want_lse) =
                reference::attention::forward(&params, &to_f64(&q), &to_f64(&cache), &spans);
            assert_close(&format!("one row, {shape:?}"), &h.read(out), &to_f32(&want_out), TOLERANCE);
            assert_close(&format!("its lse, {shape:?}"), &h.read(lse), &to_f32(&want_lse), TOLERANCE);
        }
    }
}

/// A prompt that goes on after what the cache already holds, in blocks of rows.
#[test]
fn continues_a_prompt_in_a_cache() {
    for mut h in Harness::all() {
        for (rows, before) in [(1, 0), (1, 99), (20, 37), (33, 64)] {
            let params = Params { kv_stride: 48, k_offset: 0, v_offset: 24, ..stacked(rows, [6, 2, 12]) };
            let spans: Vec<[u32; 2]> = (0..rows as u32).map(|row| [0, before + row + 1]).collect();
            let q = h.random(1, rows * params.q_stride as usize, -2.0, 2.0);
            let mut cache = h.random(2, 128 * 48, -2.0, 2.0);
            cache[(before as usize + rows) * 48..].fill(f32::NAN);

            let (q_in, cache_in, spans_in) =
                (h.input(&q), h.input(&cache), h.input_u32(spans.as_flattened()));
            let (out, lse) = (h.output(rows * params.out_stride as usize), h.output(rows * 6));
            h.run(|rec| attention::forward(rec, params, q_in, cache_in, spans_in, out, lse));
            let (want_out, want_lse) =
                reference::attention::forward(&params, &to_f64(&q), &to_f64(&cache), &spans);
            let what = format!("{rows} rows after {before}");
            assert_close(
                &format!("attention_forward out, {what}"),
                &h.read(out),
                &to_f32(&want_out),
                TOLERANCE,
            );
            assert_close(
                &format!("attention_forward lse, {what}"),
                &h.read(lse),
                &to_f32(&want_lse),
                TOLERANCE,
            );
        }
    }
}

/// A long row is cut into several dispatches where one would keep a GPU for too long.
#[test]
fn a_pass_that_is_cut_gives_the_same_bits() {
    let rows = 270;
    let params = stacked(rows, [6, 2, 12]);
    let (width, out_width) = (rows * params.kv_stride as usize, rows * params.out_stride as usize);
    let (spans, last) = packed(&[200, 61], ALL, 9);
    let mut pass = |mut h: Harness| {
        let qkv = h.random(1, width, -2.0, 2.0);
        let dout = h.random(2, out_width, -1.0, 1.0);
        let (qkv, dout) = (h.input(&qkv), h.input(&dout));
        let (spans, last) = (h.input_u32(spans.as_flattened()), h.input_u32(&last));
        let (out, dqkv) = (h.output(out_width), h.output(width));
        let (lse, delta) = (h.output(rows * 6), h.output(rows * 6));
        let before = h.dispatches();
        h.run(|rec| {
            attention::forward(rec, params, qkv, qkv, spans, out, lse);
            attention::backward(rec, params, Backward { qkv, out, dout, lse, spans, last, delta, dqkv });
        });
        let written = [out, lse, delta, dqkv].map(|tensor| h.read_u32(tensor));
        (h.dispatches() - before, written)
    };
    let of_gpus = || Harness::all().into_iter().filter(Harness::is_on_gpu);
    let whole: Vec<_> = of_gpus().map(&mut pass).collect();
    Harness::expect_short_submits();
    let cut = of_gpus().map(|h| pass(h.cut_at(1_000_000)));
    for (variant, ((dispatches, whole), (more, cut))) in whole.into_iter().zip(cut).enumerate() {
        assert!(
            dispatches == 3 && more >= 6,
            "variant {variant} went from {dispatches} to {more} dispatches"
        );
        assert!(whole == cut, "variant {variant} gives other bits");
    }
}
