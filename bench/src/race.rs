//! The race that the engine runs when it loads a model on a GPU: which tile wins for each product.

use serde_json::json;
use tabtune::device::Store;
use tabtune::error::Result;
use tabtune::kernels::linear::Tile;
use tabtune::memory::MAX_BINDING;
use tabtune::model::Model;
use tabtune::tune::{self, Tuning};
use web_time::Instant;

use crate::ceilings::Ceilings;
use crate::open;
use crate::options::{Base, Options};
use crate::output::{Output, Table, digits, percent, rounded};
use crate::synthetic::SyntheticFiles;

/// What the race may take, where the engine itself gives it [`tune::LOAD_SECONDS`]: here every product is
/// to have its turn.
const SECONDS: f64 = 30.0;

/// Races the tiles on the products of the model of `options`, whose weights are not needed for it.
pub async fn run(options: &Options, ceilings: &Ceilings, output: &Output<'_>) -> Result<()> {
    let (shape, base) = (options.shape, options.base.unwrap_or(Base::Nf4));
    output.note(&format!("race of the tiles for {} with {} base", shape.name, base.name()));
    let device = open().await?;
    let load = base.load();
    let files = SyntheticFiles::new(shape, base)?;
    let model =
        Model::load(&files, shape.architecture()?, load, &mut Store::planned(MAX_BINDING), &mut |_| {})
            .await?;
    let candidates = tune::candidates(device.summary(), true);
    let mut tuning = Tuning::new(device.summary());
    let (began, mut is_complete) = (Instant::now(), true);
    // By a product at a time, so that what was found is written before the next one starts.
    let mut table = Table::new(
        format!("race of the tiles for {}, {} base", shape.name, base.name()),
        &["product", "M", "tile", "ms", "share of peak", "over the default"],
    );
    for product in model.products() {
        let known = tuning.timings.len();
        let left = (SECONDS - began.elapsed().as_secs_f64()).max(0.0);
        tune::tune(&device, &[product], &candidates, left, &mut tuning).await?;
        is_complete &= tuning.complete;
        let timed = &tuning.timings[known..];
        for choice in tuning.tiles.choices.iter().filter(|choice| choice.shape == product.shape) {
            let of_choice =
                || timed.iter().filter(|(it, _)| (it.direction, it.rows) == (choice.direction, choice.rows));
            let seconds =
                |tile: Tile| of_choice().find(|(it, _)| it.tile == tile).map(|(_, seconds)| *seconds);
            let Some(won) = seconds(choice.tile) else { continue };
            // The part of a wide product that was timed.
            let cols = product.shape.cols.min(tune::MOST_COLS);
            let flops = 2.0 * f64::from(choice.rows) * f64::from(cols) * f64::from(product.shape.depth);
            let over_default = seconds(tuning.tiles.default).map(|default| default / won);
            let tiles: serde_json::Map<_, _> = of_choice()
                .map(|(it, seconds)| (it.tile.name().to_owned(), rounded(seconds * 1e3).into()))
                .collect();
            let (format, direction) = (product.shape.format.name(), choice.direction);
            output.result(
                "race",
                json!({
                    "shape": shape.name,
                    "format": format,
                    "direction": direction,
                    "rows": choice.rows,
                    "cols": cols,
                    "depth": product.shape.depth,
                    "tile": choice.tile.name(),
                    "ms": rounded(won * 1e3),
                    "gflops": rounded(flops / won / 1e9),
                    "share_of_peak": rounded(flops / won / ceilings.flops),
                    "over_default": over_default.map(rounded),
                    "ms_by_tile": tiles,
                }),
            );
            table.row(vec![
                format!("{format} N{} K{} {direction:?}", product.shape.cols, product.shape.depth),
                choice.rows.to_string(),
                choice.tile.name().to_owned(),
                digits(won * 1e3),
                percent(flops / won / ceilings.flops),
                over_default.map_or("–".to_owned(), digits),
            ]);
        }
    }
    output.result(
        "race_end",
        json!({
            "shape": shape.name,
            "default": tuning.tiles.default.name(),
            "complete": is_complete,
            "seconds": rounded(began.elapsed().as_secs_f64()),
            "rejected": tuning.rejected,
        }),
    );
    output.table(table);
    Ok(())
}
