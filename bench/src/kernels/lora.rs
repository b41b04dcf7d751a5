//! The adapter's products and its optimiser.

use tabtune::error::Result;
use tabtune::kernels::linear::{self, NONE, Params, Tile};
use tabtune::kernels::lora_grad::{self, Along};
use tabtune::kernels::{adamw, dropout, grad_norm};

use super::{Bench, Case, Sizes};
use crate::arena::Arena;
use crate::step::ends_of_modules;

const RANK: usize = 16;

/// Measures the small products of each stacked product, and what runs once over the whole adapter.
pub async fn run(sizes: &Sizes<'_>, bench: &mut Bench<'_, '_>) -> Result<()> {
    let [qkv, o, gate_up, down] = sizes.products();
    let ffn = sizes.shape.intermediate;
    for (product, ends) in [
        (qkv, vec![sizes.queries(), sizes.queries() + sizes.keys(), sizes.qkv()]),
        (o, vec![sizes.shape.hidden]),
        (gate_up, vec![ffn, 2 * ffn]),
        (down, vec![sizes.shape.hidden]),
    ] {
        bench.race(|arena| products(sizes, arena, product, &ends)).await?;
    }
    bench.race(|arena| optimizer(sizes, arena)).await?;
    bench.race(|arena| dropouts(sizes, arena)).await
}

/// T = X·Aᵀ, dT = dY·B, dB = dYᵀ·T and dA = dTᵀ·X of a product whose stacked layers end at `ends`.
fn products(
    sizes: &Sizes<'_>,
    arena: &mut Arena,
    (name, cols, depth): (&'static str, usize, usize),
    ends: &[usize],
) -> Result<Vec<Case>> {
    let (rows, sections) = (sizes.rows, ends.len());
    let width = sections * RANK;
    let (x, dy) = (arena.values(rows * depth)?, arena.values(rows * cols)?);
    let (a, b) = (arena.values(width * depth)?, arena.values(cols * RANK)?);
    let (t, dt) = (arena.values(rows * width)?, arena.values(rows * width)?);
    let (da, db) = (arena.empty(width * depth)?, arena.empty(cols * RANK)?);

    let mut panel = Params { rank: RANK as u32, t_stride: width as u32, ..Params::plain(rows, cols, depth) };
    let mut first = 0;
    for (section, &end) in ends.iter().enumerate() {
        panel.section_end[section] = end as u32;
        panel.t_offset[section] = (section * RANK) as u32;
        panel.b_base[section] = (first * RANK) as u32;
        first = end;
    }
    debug_assert!(panel.t_offset[sections..].iter().all(|&offset| offset == NONE));
    let of_b = lora_grad::Params {
        rows: rows as u32,
        u_stride: cols as u32,
        u_offset: 0,
        v_stride: width as u32,
        height: cols as u32,
        width: RANK as u32,
        scale: 1.0,
        pad: 0,
        section_end: panel.section_end,
        v_offset: panel.t_offset,
        g_base: panel.b_base,
    };
    let of_a = lora_grad::Params {
        u_stride: width as u32,
        v_stride: depth as u32,
        height: width as u32,
        width: depth as u32,
        section_end: [u32::MAX; 4],
        v_offset: [0; 4],
        g_base: [0; 4],
        ..of_b
    };
    let (at_x, at_y) = (width * depth, cols * RANK);
    let down = Params::plain(rows, width, depth);
    let cases = |tile: Tile| {
        let case = |kernel, values: usize, products: usize, record| Case {
            kernel,
            variant: tile.name().to_owned(),
            size: format!("{name} M{rows} N{cols} K{depth} R{RANK}"),
            flops: 2 * (rows * products) as u64,
            bytes: 4 * values as u64,
            tile,
            record,
        };
        [
            case(
                "lora T",
                rows * (depth + width) + at_x,
                at_x,
                Box::new(move |rec: &mut _| linear::narrow(rec, down, x, a, t)),
            ),
            case(
                "lora_grad_t",
                rows * (cols + width) + at_y,
                at_y,
                Box::new(move |rec: &mut _| lora_grad::t(rec, panel, sections, dy, b, dt)),
            ),
            // Gradients are added to, so they are read and written.
            case(
                "lora_grad_outer dB",
                rows * (cols + width) + 2 * at_y,
                at_y,
                Box::new(move |rec: &mut _| lora_grad::outer(rec, Along::U, of_b, dy, t, db)),
            ),
            case(
                "lora_grad_outer dA",
                rows * (depth + width) + 2 * at_x,
                at_x,
                Box::new(move |rec: &mut _| lora_grad::outer(rec, Along::V, of_a, dt, x, da)),
            ),
        ]
    };
    // Tiles for GPUs share the kernels that slice the sums; those that do not are there for comparison.
    let other = sizes.tile.is_shared().then_some(Tile::Direct);
    Ok(std::iter::once(sizes.tile).chain(other).flat_map(cases).collect())
}

/// The global norm and AdamW over an adapter of all linear layers, cut where one binding ends.
fn optimizer(sizes: &Sizes<'_>, arena: &mut Arena) -> Result<Vec<Case>> {
    const MOST: usize = 30 << 20;
    let n = (RANK * ends_of_modules(&sizes.shape.architecture()?)).min(MOST);
    let (grad, param) = (arena.values(n)?, arena.values(n)?);
    let (m, v) = (arena.empty(n)?, arena.empty(n)?);
    let count = grad_norm::partial_count(n);
    let (partials, loss, stats) = (arena.empty(count)?, arena.empty(1)?, arena.empty(grad_norm::STATS)?);
    let hyper = arena.empty(8)?;
    let options =
        adamw::Options { adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-8, weight_decay: 0.0 };
    arena.store.write(hyper, &[adamw::Hyper::at_step(&options, 1e-4, 1); 2]);
    arena.store.write(stats, &[1.0f32; grad_norm::STATS]);
    let case = |kernel, flops: usize, values: usize, record| Case {
        kernel,
        variant: String::new(),
        size: format!("n {n}"),
        flops: flops as u64,
        bytes: 4 * values as u64,
        tile: sizes.tile,
        record,
    };
    Ok(vec![
        case(
            "grad_norm",
            2 * n,
            n,
            Box::new(move |rec: &mut _| {
                let params = grad_norm::SquaresParams { n: n as u32, first: 0 };
                grad_norm::squares(rec, params, grad, partials);
                let params = grad_norm::FinishParams { count: count as u32, max_grad_norm: 1.0 };
                grad_norm::finish(rec, params, partials, loss, stats);
            }),
        ),
        case(
            "adamw",
            12 * n,
            7 * n,
            Box::new(move |rec: &mut _| {
                let update = adamw::Update { grad, stats, hyper, param, m, v };
                adamw::update(rec, adamw::Params { n: n as u32, decays: 1 }, update);
            }),
        ),
    ])
}

/// Dropout of the widest input.
fn dropouts(sizes: &Sizes<'_>, arena: &mut Arena) -> Result<Vec<Case>> {
    let n = sizes.rows * sizes.shape.intermediate;
    let (seed, inp, out) = (arena.numbers(&[1])?, arena.values(n)?, arena.empty(n)?);
    let params = dropout::Params::new(n as u32, 0, 0.1);
    let case = |kernel, values: usize, record| Case {
        kernel,
        variant: String::new(),
        size: format!("M{} F{}", sizes.rows, sizes.shape.intermediate),
        flops: n as u64,
        bytes: 4 * (values * n) as u64,
        tile: sizes.tile,
        record,
    };
    Ok(vec![
        case(
            "dropout_forward",
            2,
            Box::new(move |rec: &mut _| dropout::forward(rec, params, seed, inp, out)),
        ),
        case(
            "dropout_backward_add",
            3,
            Box::new(move |rec: &mut _| dropout::backward_add(rec, params, seed, inp, out)),
        ),
    ])
}
