use std::ops::Range;

use crate::params::attention::Params;
use crate::testing::{assert_close, from_words, random, run};

/// Query heads, key/value heads, head_dim.
const SHAPES: [[u32; 3]; 10] = [
    [1, 1, 4],
    [6, 2, 12],
    [3, 1, 20],
    [4, 4, 32],
    [9, 3, 64],
    [7, 1, 64],
    [6, 2, 68],
    [2, 1, 80],
    [2, 2, 128],
    [5, 1, 256],
];

/// A window that hides nothing.
const ALL: usize = usize::MAX / 2;

/// One stacked projection behind four other columns, in which each part begins at a multiple of 8.
fn stacked(rows: usize, [q_heads, kv_heads, head_dim]: [u32; 3]) -> Params {
    let k_offset = 4 + (q_heads * head_dim).next_multiple_of(8);
    let v_offset = k_offset + (kv_heads * head_dim).next_multiple_of(8);
    let stride = v_offset + (kv_heads * head_dim).next_multiple_of(8);
    Params {
        rows: rows as u32,
        q_stride: stride,
        q_offset: 4,
        kv_stride: stride,
        k_offset,
        v_offset,
        out_stride: (q_heads * head_dim).next_multiple_of(8),
        q_heads,
        kv_heads,
        head_dim,
        scale: 1.0 / (head_dim as f32).sqrt(),
        first_row: 0,
    }
}

/// Spans of packed segments of the given lengths, seen through a window, with `dead` rows behind them; and for each key
/// the end of the rows that see it.
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

fn query(params: &Params, row: usize, head: usize) -> Range<usize> {
    let start = row * params.q_stride as usize + params.q_offset as usize + head * params.dim();
    start..start + params.dim()
}

/// The key, and the value, that query head `head` looks at.
fn key_and_value(params: &Params, key: usize, head: usize) -> [Range<usize>; 2] {
    let kv_head = head / (params.q_heads / params.kv_heads) as usize;
    [params.k_offset, params.v_offset].map(|offset| {
        let start = key * params.kv_stride as usize + offset as usize + kv_head * params.dim();
        start..start + params.dim()
    })
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Output and log-sum-exp in f64, and with `dout` the gradient of what lies in `kv`, which then has the queries too.
struct Naive {
    out: Vec<f64>,
    lse: Vec<f64>,
    delta: Vec<f64>,
    gradient: Vec<f64>,
}

fn naive(params: &Params, q: &[f32], kv: &[f32], spans: &[[u32; 2]], dout: Option<&[f32]>) -> Naive {
    let (rows, heads, dim) = (params.rows as usize, params.q_heads as usize, params.dim());
    let mut of = Naive {
        out: vec![0.0; rows * params.out_stride as usize],
        lse: vec![0.0; rows * heads],
        delta: vec![0.0; rows * heads],
        gradient: vec![0.0; if dout.is_some() { kv.len() } else { 0 }],
    };
    for (row, head) in (0..rows).flat_map(|row| (0..heads).map(move |head| (row, head))) {
        let keys = spans[row][0] as usize..spans[row][1] as usize;
        if keys.is_empty() {
            continue;
        }
        let query = query(params, row, head);
        let scale = f64::from(params.scale);
        let score = |key| scale * dot(&q[query.clone()], &kv[key_and_value(params, key, head)[0].clone()]);
        let scores: Vec<f64> = keys.clone().map(score).collect();
        let peak = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = peak + scores.iter().map(|score| (score - peak).exp()).sum::<f64>().ln();
        of.lse[row * heads + head] = lse;
        let own = row * params.out_stride as usize + head * dim;
        for (key, score) in keys.clone().zip(&scores) {
            let [_, value] = key_and_value(params, key, head);
            for (d, at) in value.enumerate() {
                of.out[own + d] += (score - lse).exp() * f64::from(kv[at]);
            }
        }
        let Some(dout) = dout.map(|dout| &dout[own..own + dim]) else { continue };
        let delta: f64 = (0..dim).map(|d| f64::from(dout[d]) * of.out[own + d]).sum();
        of.delta[row * heads + head] = delta;
        for (key, score) in keys.zip(scores) {
            let [key, value] = key_and_value(params, key, head);
            let weight = (score - lse).exp();
            let slope = scale * weight * (dot(dout, &kv[value.clone()]) - delta);
            for d in 0..dim {
                of.gradient[query.start + d] += slope * f64::from(kv[key.start + d]);
                of.gradient[key.start + d] += slope * f64::from(q[query.start + d]);
                of.gradient[value.start + d] += weight * f64::from(dout[d]);
            }
        }
    }
    of
}

/// Runs forward and backward and compares all that they write.
fn check(shape: [u32; 3], (spans, last): (Vec<[u32; 2]>, Vec<u32>), range: f32, bound: f64) {
    let rows = spans.len();
    let params = stacked(rows, shape);
    let stride = params.kv_stride as usize;
    let qkv: Vec<f32> = random(1, rows * stride).iter().map(|x| range * x).collect();
    let dout = random(2, rows * params.out_stride as usize);
    let want = naive(&params, &qkv, &qkv, &spans, Some(&dout));
    let norms = |want: &[f64]| want.iter().map(|want| want.abs().max(1.0)).collect::<Vec<f64>>();
    let what = format!("heads {shape:?}, {rows} rows");
    let near = |name: &str, got: &[f32], want: &[f64]| {
        assert_close(&format!("{name}, {what}"), got, want, &norms(want), bound);
    };
    let nan = |count: usize| vec![f32::NAN; count];
    let (of_spans, of_last) = (from_words(spans.as_flattened()), from_words(&last));
    let heads = rows * params.q_heads as usize;
    let operands: [&[f32]; 5] = [&qkv, &qkv, &of_spans, &nan(dout.len()), &nan(heads)];
    for (flavour, forward) in run("attention_forward", &params, &operands).into_iter().enumerate() {
        let (out, lse) = (&forward[3], &forward[4]);
        near("out", out, &want.out);
        near("lse", lse, &want.lse);
        let operands: [&[f32]; 7] = [&qkv, out, &dout, lse, &of_spans, &nan(heads), &nan(qkv.len())];
        let backward = run("attention_backward_q", &params, &operands).swap_remove(flavour);
        let (delta, dqkv) = (&backward[5], &backward[6]);
        near("delta", delta, &want.delta);
        let operands: [&[f32]; 6] = [&qkv, &dout, lse, delta, &of_last, dqkv];
        let mut backward = run("attention_backward_kv", &params, &operands).swap_remove(flavour);
        let dqkv = backward.swap_remove(5);
        for row in 0..rows {
            let own = row * stride + 4..(row + 1) * stride;
            assert!(
                dqkv[row * stride..own.start].iter().all(|x| x.is_nan()),
                "columns before the queries stay"
            );
            near("dqkv", &dqkv[own.clone()], &want.gradient[own]);
        }
    }
}

#[test]
fn any_number_of_rows() {
    for rows in [1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 63, 64, 65, 97, 129, 130] {
        check([6, 2, 12], packed(&[rows], ALL, 0), 2.0, 1e-5);
    }
}

#[test]
fn any_shape_of_heads() {
    for shape in SHAPES {
        check(shape, packed(&[97], ALL, 0), 2.0, 1e-5);
        check(shape, packed(&[1, 17, 2, 40, 16], ALL, 4), 2.0, 1e-5);
    }
}

/// So many that blocks are as tall as they get.
#[test]
fn many_blocks() {
    check([4, 4, 16], packed(&[300, 250], ALL, 3), 2.0, 1e-5);
    check([8, 8, 32], packed(&[290], 70, 0), 2.0, 1e-5);
    check([8, 8, 136], packed(&[130], 20, 2), 2.0, 1e-5);
}

#[test]
fn segments_windows_and_dead_rows() {
    for window in [1, 2, 16, 24, 65, ALL] {
        for lengths in [&[130][..], &[3, 1, 1, 40, 7, 15, 16, 17], &[15, 65, 66]] {
            check([6, 2, 12], packed(lengths, window, 7), 2.0, 1e-5);
        }
    }
    check([6, 2, 12], packed(&[5], 3, 43), 2.0, 1e-5);
    check([6, 2, 12], packed(&[], 3, 8), 2.0, 1e-5);
}

/// Scores in the thousands: mostly one weight is nearly 1. Where it is not, the rounding of two scores, some 1e-4 each,
/// goes into the weights, and from them into values of 30.
#[test]
fn large_scores() {
    check([6, 2, 64], packed(&[100, 30], ALL, 6), 30.0, 4e-3);
}

/// What lies in a row that is not seen may be anything.
#[test]
fn decodes_from_a_cache() {
    for shape in SHAPES {
        for spans in [
            &[[0, 1], [1, 64], [64, 128], [129, 194], [200, 400], [7, 7], [3, 66]][..],
            &[[0, 131]],
            &[[5, 412]; 9],
        ] {
            let kv_width = shape[1] * shape[2];
            let params = Params {
                kv_stride: 2 * kv_width + 4,
                k_offset: 0,
                v_offset: kv_width,
                ..stacked(spans.len(), shape)
            };
            let stride = params.kv_stride as usize;
            let twice = |values: Vec<f32>| values.into_iter().map(|x| 2.0 * x).collect::<Vec<f32>>();
            let q = twice(random(1, (params.rows * params.q_stride) as usize));
            let mut cache = twice(random(2, 420 * stride));
            for row in
                (0..420u32).filter(|row| !spans.iter().any(|[start, end]| (*start..*end).contains(row)))
            {
                cache[row as usize * stride..][..stride].fill(f32::NAN);
            }
            let want = naive(&params, &q, &cache, spans, None);
            let (out, lse) = (vec![f32::NAN; want.out.len()], vec![f32::NAN; want.lse.len()]);
            let operands: [&[f32]; 5] = [&q, &cache, &from_words(spans.as_flattened()), &out, &lse];
            for got in run("attention_decode", &params, &operands) {
                assert_close("out", &got[3], &want.out, &vec![2.0; want.out.len()], 1e-5);
                assert_close("lse", &got[4], &want.lse, &vec![4.0; want.lse.len()], 1e-5);
            }
        }
    }
}

/// A prompt that goes on after what the cache already holds.
#[test]
fn continues_a_prompt_in_a_cache() {
    for (rows, before) in [(1, 0), (1, 99), (20, 37), (33, 64)] {
        let params =
            Params { kv_stride: 48, k_offset: 0, v_offset: 24, ..stacked(rows as usize, [6, 2, 12]) };
        let spans: Vec<[u32; 2]> = (0..rows).map(|row| [0, before + row + 1]).collect();
        let q = random(1, (params.rows * params.q_stride) as usize);
        let mut cache = random(2, 128 * 48);
        cache[(before + rows) as usize * 48..].fill(f32::NAN);
        let want = naive(&params, &q, &cache, &spans, None);
        let (out, lse) = (vec![f32::NAN; want.out.len()], vec![f32::NAN; want.lse.len()]);
        let operands: [&[f32]; 5] = [&q, &cache, &from_words(spans.as_flattened()), &out, &lse];
        for got in run("attention_forward", &params, &operands) {
            assert_close("out", &got[3], &want.out, &vec![1.0; want.out.len()], 1e-5);
            assert_close("lse", &got[4], &want.lse, &vec![4.0; want.lse.len()], 1e-5);
        }
    }
}
