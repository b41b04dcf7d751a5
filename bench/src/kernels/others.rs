//! What lies between the products of a layer: norms, RoPE, attention, biases, the gated unit, the cache.

use tabtune::error::Result;
use tabtune::kernels::glu::{self, Act};
use tabtune::kernels::{attention, bias, head_norm, kv_append, rms_norm, rope};

use super::{Bench, Case, Sizes, case};
use crate::arena::Arena;

pub async fn run(sizes: &Sizes<'_>, bench: &mut Bench<'_, '_>) -> Result<()> {
    bench.race(|arena| attentions(sizes, arena)).await?;
    bench.race(|arena| decoding(sizes, arena)).await?;
    bench.race(|arena| norms(sizes, arena)).await?;
    bench.race(|arena| of_heads(sizes, arena)).await?;
    bench.race(|arena| gated_units(sizes, arena)).await
}

fn attention_params(sizes: &Sizes<'_>) -> attention::Params {
    attention::Params {
        rows: sizes.rows as u32,
        q_stride: sizes.qkv() as u32,
        q_offset: 0,
        kv_stride: sizes.qkv() as u32,
        k_offset: sizes.queries() as u32,
        v_offset: (sizes.queries() + sizes.keys()) as u32,
        out_stride: sizes.queries() as u32,
        q_heads: sizes.shape.heads as u32,
        kv_heads: sizes.shape.kv_heads as u32,
        head_dim: sizes.shape.head_dim as u32,
        scale: 1.0 / (sizes.shape.head_dim as f32).sqrt(),
        first_row: 0,
    }
}

/// One causal row of M tokens. Operations are those of the least products: two forward, five backward.
fn attentions(sizes: &Sizes<'_>, arena: &mut Arena) -> Result<Vec<Case>> {
    let (rows, queries, qkv_width) = (sizes.rows, sizes.queries(), sizes.qkv());
    let heads = rows * sizes.shape.heads;
    let qkv = arena.values(rows * qkv_width)?;
    let (out, dout) = (arena.empty(rows * queries)?, arena.values(rows * queries)?);
    let (lse, delta) = (arena.empty(heads)?, arena.empty(heads)?);
    let dqkv = arena.empty(rows * qkv_width)?;
    let spans: Vec<u32> = (0..rows as u32).flat_map(|row| [0, row + 1]).collect();
    let spans = arena.numbers(&spans)?;
    let last = arena.numbers(&vec![rows as u32; rows])?;
    let params = attention_params(sizes);
    let size = format!("M{rows} heads {}/{} of {}", params.q_heads, params.kv_heads, params.head_dim);
    let product = rows * rows * queries;
    let tensors = attention::Backward { qkv, out, dout, lse, spans, last, delta, dqkv };
    Ok(vec![
        case(
            sizes,
            "attention_forward",
            size.clone(),
            2 * product,
            4 * (rows * (qkv_width + queries) + heads),
            move |rec| attention::forward(rec, params, qkv, qkv, spans, out, lse),
        ),
        case(
            sizes,
            "attention_backward",
            size,
            5 * product,
            4 * (rows * (2 * qkv_width + 2 * queries) + 2 * heads),
            move |rec| attention::backward(rec, params, tensors),
        ),
    ])
}

/// One token that sees M cached ones, and M tokens that join a cache.
fn decoding(sizes: &Sizes<'_>, arena: &mut Arena) -> Result<Vec<Case>> {
    let (rows, queries, keys, qkv_width) = (sizes.rows, sizes.queries(), sizes.keys(), sizes.qkv());
    let (qkv, cache) = (arena.values(rows * qkv_width)?, arena.values(rows * 2 * keys)?);
    let (out, lse) = (arena.empty(queries)?, arena.empty(sizes.shape.heads)?);
    let spans = arena.numbers(&[0, rows as u32])?;
    let positions = arena.numbers(&(0..rows as u32).collect::<Vec<_>>())?;
    let append = kv_append::Params {
        rows: rows as u32,
        qkv_stride: qkv_width as u32,
        k_offset: queries as u32,
        v_offset: (queries + keys) as u32,
        kv_width: keys as u32,
        cache_stride: 2 * keys as u32,
    };
    let params = attention::Params {
        rows: 1,
        kv_stride: append.cache_stride,
        k_offset: 0,
        v_offset: append.kv_width,
        ..attention_params(sizes)
    };
    Ok(vec![
        case(
            sizes,
            "attention_decode",
            format!("M1 on {rows} keys"),
            4 * rows * queries,
            4 * (rows * 2 * keys + 2 * queries),
            move |rec| attention::decode(rec, params, qkv, cache, spans, out, lse),
        ),
        case(sizes, "kv_append", format!("M{rows} of {keys}"), 0, 4 * (2 * rows * 2 * keys), move |rec| {
            kv_append::apply(rec, append, qkv, positions, cache)
        }),
    ])
}

fn norms(sizes: &Sizes<'_>, arena: &mut Arena) -> Result<Vec<Case>> {
    let (rows, width) = (sizes.rows, sizes.shape.hidden);
    let n = rows * width;
    let (inp, weight, out) = (arena.values(n)?, arena.values(width)?, arena.empty(n)?);
    let (rstd, dout, dresidual) = (arena.values(rows)?, arena.values(n)?, arena.values(n)?);
    let dinp = arena.empty(n)?;
    let params = rms_norm::Params { rows: rows as u32, cols: width as u32, stride: width as u32, eps: 1e-5 };
    let norm = rms_norm::Forward { inp, weight, residual: None, out, rstd };
    let tensors = rms_norm::Backward { dout, inp, weight, rstd, dresidual: Some(dresidual), dinp };
    let size = format!("M{rows} H{width}");

    let half = sizes.shape.head_dim / 2;
    let turned = rows * (sizes.queries() + sizes.keys());
    let qkv = arena.values(rows * sizes.qkv())?;
    let (cos, sin) = (arena.values(rows * half)?, arena.values(rows * half)?);
    let positions = arena.numbers(&(0..rows as u32).collect::<Vec<_>>())?;
    let rotation = rope::Params {
        rows: rows as u32,
        stride: sizes.qkv() as u32,
        q_offset: 0,
        k_offset: sizes.queries() as u32,
        q_heads: sizes.shape.heads as u32,
        kv_heads: sizes.shape.kv_heads as u32,
        head_dim: sizes.shape.head_dim as u32,
        rotary_dim: sizes.shape.head_dim as u32,
        sign: 1.0,
        table_stride: half as u32,
    };
    Ok(vec![
        case(sizes, "rms_norm_forward", size.clone(), 4 * n, 4 * (2 * n), move |rec| {
            rms_norm::forward(rec, params, norm);
        }),
        case(sizes, "rms_norm_backward", size, 8 * n, 4 * (4 * n), move |rec| {
            rms_norm::backward(rec, params, tensors);
        }),
        case(
            sizes,
            "rope",
            format!("M{rows} of {}", sizes.queries() + sizes.keys()),
            3 * turned,
            4 * (2 * turned + 2 * rows * half),
            move |rec| rope::apply(rec, rotation, qkv, positions, cos, sin),
        ),
    ])
}

/// The norms of query and key heads, and the biases of their product.
fn of_heads(sizes: &Sizes<'_>, arena: &mut Arena) -> Result<Vec<Case>> {
    let (rows, stride) = (sizes.rows, sizes.qkv());
    let (n, normed) = (rows * stride, rows * (sizes.queries() + sizes.keys()));
    let (qkv, out) = (arena.values(n)?, arena.empty(n)?);
    // What works in place would run off to infinity on values that others read.
    let (dqkv, y) = (arena.values(n)?, arena.values(n)?);
    let weights =
        head_norm::Weights { q: arena.values(sizes.shape.head_dim)?, k: arena.values(sizes.shape.head_dim)? };
    let values = arena.values(stride)?;
    let params = head_norm::Params {
        rows: rows as u32,
        stride: stride as u32,
        q_offset: 0,
        k_offset: sizes.queries() as u32,
        q_heads: sizes.shape.heads as u32,
        kv_heads: sizes.shape.kv_heads as u32,
        head_dim: sizes.shape.head_dim as u32,
        eps: 1e-6,
    };
    let added = bias::Params { rows: rows as u32, stride: stride as u32, offset: 0, cols: stride as u32 };
    let size = format!("M{rows} heads {}/{} of {}", params.q_heads, params.kv_heads, params.head_dim);
    Ok(vec![
        case(sizes, "head_norm_forward", size.clone(), 4 * normed, 4 * (2 * n), move |rec| {
            head_norm::forward(rec, params, qkv, weights, out);
        }),
        case(sizes, "head_norm_backward", size, 8 * normed, 4 * (3 * normed), move |rec| {
            head_norm::backward(rec, params, qkv, weights, dqkv);
        }),
        case(sizes, "bias", format!("M{rows} N{stride}"), n, 4 * (2 * n), move |rec| {
            bias::add(rec, added, values, y);
        }),
    ])
}

/// SwiGLU and GEGLU.
fn gated_units(sizes: &Sizes<'_>, arena: &mut Arena) -> Result<Vec<Case>> {
    let (rows, half) = (sizes.rows, sizes.shape.intermediate);
    let n = rows * half;
    let (gate_up, out) = (arena.values(2 * n)?, arena.empty(n)?);
    // Backward works in place, so it would run off to infinity on the values that forward reads.
    let (dout, replaced) = (arena.empty(n)?, arena.values(2 * n)?);
    let params = glu::Params { rows: rows as u32, half: half as u32 };
    let size = format!("M{rows} F{half}");
    let of = |act: Act| {
        let forward = case(sizes, "glu_forward", size.clone(), 8 * n, 4 * (3 * n), move |rec| {
            glu::forward(rec, act, params, gate_up, out);
        });
        let backward = case(sizes, "glu_backward", size.clone(), 12 * n, 4 * (5 * n), move |rec| {
            glu::backward(rec, act, params, dout, replaced);
        });
        [forward, backward].map(|case| Case { variant: act.name().to_owned(), ..case })
    };
    Ok(Act::ALL.into_iter().flat_map(of).collect())
}
