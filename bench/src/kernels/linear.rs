//! The frozen products, forward and backward, in every weight format and tile.

use tabtune::error::Result;
use tabtune::format::WeightFormat;
use tabtune::kernels::linear::{self, Params, Tile};

use super::{Bench, Case, Sizes};
use crate::arena::{Arena, weight_bytes};

/// Measures the adapter's own tile on every product of a layer, and the other tiles on the largest one.
pub async fn run(sizes: &Sizes<'_>, bench: &mut Bench<'_, '_>) -> Result<()> {
    let products = sizes.products();
    let largest = products.iter().map(|(_, cols, depth)| cols * depth).max();
    for product in products {
        let is_largest = Some(product.1 * product.2) == largest;
        for format in WeightFormat::ALL {
            let tiles = sizes.tiles.iter().copied().filter(|&tile| {
                // A weight that is dense already is not decoded first.
                let is_fit = tile.suits(format) && !(tile.decodes() && format == WeightFormat::F32);
                tile == sizes.tile || (is_largest && is_fit)
            });
            let tiles: Vec<Tile> = tiles.collect();
            bench.race(|arena| cases(sizes, arena, product, format, &tiles)).await?;
        }
    }
    Ok(())
}

fn cases(
    sizes: &Sizes<'_>,
    arena: &mut Arena,
    (name, cols, depth): (&'static str, usize, usize),
    format: WeightFormat,
    tiles: &[Tile],
) -> Result<Vec<Case>> {
    let rows = sizes.rows;
    let weight = arena.weight(format, cols, depth)?;
    let (x, y) = (arena.values(rows * depth)?, arena.empty(rows * cols)?);
    let (dy, dx) = (arena.values(rows * cols)?, arena.empty(rows * depth)?);
    let params = Params::plain(rows, cols, depth);
    let size = format!("{name} M{rows} N{cols} K{depth}");
    let flops = 2 * rows as u64 * (cols * depth) as u64;
    let bytes = weight_bytes(format, cols, depth) + 4 * (rows * (cols + depth)) as u64;
    let mut cases = Vec::new();
    for &tile in tiles {
        let case = |kernel, record| Case {
            kernel,
            variant: format!("{} {}", format.name(), tile.name()),
            size: size.clone(),
            flops,
            bytes,
            tile,
            record,
        };
        let forward = move |rec: &mut _| linear::forward(rec, params, x, weight, None, None, y);
        cases.push(case("linear_forward", Box::new(forward)));
        let backward = move |rec: &mut _| linear::backward(rec, params, dy, weight, None, None, dx);
        cases.push(case("linear_backward", Box::new(backward)));
    }
    let row = Params::plain(1, cols, depth);
    cases.push(Case {
        kernel: "linear_row",
        variant: format.name().to_owned(),
        size: format!("{name} M1 N{cols} K{depth}"),
        flops: 2 * (cols * depth) as u64,
        bytes: weight_bytes(format, cols, depth) + 4 * (cols + depth) as u64,
        tile: sizes.tile,
        record: Box::new(move |rec| linear::forward(rec, row, x, weight, None, None, y)),
    });
    Ok(cases)
}
