//! Both ends of the decoder: embedding, labelled rows, cross-entropy, the sum of the loss.

use tabtune::error::Result;
use tabtune::format::WeightFormat;
use tabtune::kernels::{cross_entropy, embedding, grad_norm, rows};
use tabtune::model::LossPlan;

use super::{Bench, Case, Sizes, case};
use crate::arena::Arena;

pub async fn run(sizes: &Sizes<'_>, bench: &mut Bench<'_, '_>) -> Result<()> {
    bench.race(|arena| cross_entropies(sizes, arena)).await?;
    bench.race(|arena| picked_rows(sizes, arena)).await?;
    bench.race(|arena| embeddings(sizes, arena)).await
}

/// A block of labelled rows, as the loss cuts them.
fn cross_entropies(sizes: &Sizes<'_>, arena: &mut Arena) -> Result<Vec<Case>> {
    let vocab = sizes.shape.vocab;
    let count = LossPlan::new(sizes.rows, vocab).block;
    let n = count * vocab;
    let logits = arena.values(n)?;
    let (targets, weight) = (arena.ids(count, vocab)?, arena.values(count)?);
    let losses = arena.empty(sizes.rows)?;
    let sum = arena.empty(4)?;
    let params =
        cross_entropy::Params { rows: count as u32, vocab: vocab as u32, stride: vocab as u32, first: 0 };
    let all = sizes.rows;
    Ok(vec![
        case(sizes, "cross_entropy", format!("M{count} V{vocab}"), 8 * n, 8 * n, move |rec| {
            cross_entropy::forward_backward(rec, params, targets, weight, logits, losses);
        }),
        case(sizes, "grad_norm_loss_sum", format!("M{all}"), all, 4 * all, move |rec| {
            grad_norm::loss_sum(rec, grad_norm::LossSumParams { n: all as u32 }, losses, sum);
        }),
    ])
}

fn picked_rows(sizes: &Sizes<'_>, arena: &mut Arena) -> Result<Vec<Case>> {
    let (all, stride) = (sizes.rows, sizes.shape.hidden);
    let (x, picked) = (arena.values(all * stride)?, arena.values(all * stride)?);
    let index = arena.numbers(&(0..all as u32).rev().collect::<Vec<_>>())?;
    let params = rows::Params { count: all as u32, stride: stride as u32, first: 0 };
    let (size, bytes) = (format!("M{all} H{stride}"), 8 * all * stride);
    Ok(vec![
        case(sizes, "rows_gather", size.clone(), 0, bytes, move |rec| {
            rows::gather(rec, params, x, index, picked);
        }),
        case(sizes, "rows_scatter", size, 0, bytes, move |rec| {
            rows::scatter(rec, params, picked, index, x);
        }),
    ])
}

/// Rows of a table in F16, or of as much of it as one binding takes.
fn embeddings(sizes: &Sizes<'_>, arena: &mut Arena) -> Result<Vec<Case>> {
    const TABLE_BYTES: usize = 120 << 20;
    let (all, stride) = (sizes.rows, sizes.shape.hidden);
    let n_ids = sizes.shape.vocab.min(TABLE_BYTES / (2 * stride));
    let table = arena.weight(WeightFormat::F16, n_ids, stride)?;
    let (ids, out) = (arena.ids(all, n_ids)?, arena.empty(all * stride)?);
    let params = embedding::Params {
        rows: all as u32,
        depth: stride as u32,
        first_id: 0,
        n_ids: n_ids as u32,
        scale: 1.0,
    };
    let size = format!("M{all} H{stride} V{n_ids}");
    Ok(vec![case(sizes, "embedding f16", size, 0, 6 * all * stride, move |rec| {
        embedding::forward(rec, params, ids, table, out);
    })])
}
