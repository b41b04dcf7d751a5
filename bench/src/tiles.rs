//! Whether the products of every tile agree with the plain twin, one variant after another.

use serde_json::json;
use tabtune::device::Device;
use tabtune::error::Result;
use tabtune::format::WeightFormat;
use tabtune::kernels::linear::Tile;
use tabtune::kernels::tiles::Direction;
use tabtune::tune;

use crate::output::{Output, Table};

/// Checks the tiles that run on `gpu`. Each result is written at once: a driver that crashes on a variant
/// leaves those before it. One that fails without a crash is told as such, and the others go on.
pub async fn run(device: &Device, output: &Output<'_>) -> Result<()> {
    let mut table = Table::new("tiles against the plain twin", &["tile", "agree", "differ"]);
    for tile in Tile::ALL.into_iter().filter(|tile| tile.runs_on(device.summary())) {
        output.note(&format!("checking {}", tile.name()));
        let (mut agreeing, mut differing) = (0, Vec::new());
        for format in WeightFormat::ALL.into_iter().filter(|&format| tile.suits(format)) {
            for direction in Direction::ALL {
                let found = tune::agrees(device, tile, format, direction).await;
                let failed = found
                    .as_ref()
                    .err()
                    .map(ToString::to_string)
                    .or(device.check().err().map(|error| error.to_string()));
                let agrees = failed.is_none() && found.unwrap_or(false);
                output.result(
                    "tile",
                    json!({
                        "tile": tile.name(),
                        "format": format.name(),
                        "direction": direction,
                        "agrees": agrees,
                        "error": failed,
                    }),
                );
                match agrees {
                    true => agreeing += 1,
                    false => differing.push(format!("{} {direction:?}", format.name())),
                }
            }
        }
        table.row(vec![tile.name().to_owned(), agreeing.to_string(), differing.join(", ")]);
    }
    output.table(table);
    Ok(())
}
