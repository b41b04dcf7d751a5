//! From arguments to results.

use serde_json::json;
use tabtune::device::{Device, DeviceOption};
use tabtune::error::Result;
use tabtune::kernels::linear::Tile;

use crate::ceilings::Ceilings;
use crate::options::{Options, What};
use crate::output::{Output, Stream};
use crate::{generate, kernels, loss, open_for, peer, products, race, ratios, step, tiles, ways};

/// Measures what `arguments` ask for and hands every text to `write`.
///
/// # Errors
///
/// `bad-option` for wrong arguments; whatever goes wrong on the adapter.
pub async fn run(arguments: &[String], write: &dyn Fn(Stream, &str)) -> Result<()> {
    let options = Options::parse(arguments)?;
    let tables_to = if options.what == What::Peer { Stream::Notes } else { Stream::Results };
    let device = open_for(&options).await?;
    let output = Output::new(write, tables_to, device.summary());
    match options.what {
        What::Adapter => adapter(&device, &output),
        What::Tiles => tiles::run(&device, &output).await?,
        What::Loss => {
            drop(device);
            loss::run(&options, &output).await?;
        }
        What::Peer => {
            drop(device);
            peer::run(&options, &output).await?;
        }
        What::Ways => {
            drop(device);
            ways::run(&options, &output).await?;
        }
        What::Products => products::run(&device, &output).await?,
        _ if options.device == DeviceOption::Cpu => {
            drop(device);
            measure(&options, None, &output).await?;
        }
        _ => {
            drop(device);
            let ceilings = Ceilings::measure(&output).await?;
            against_ceilings(&options, &ceilings, &output).await?;
            measure(&options, Some(&ceilings), &output).await?;
        }
    }
    output.finish();
    Ok(())
}

/// What is measured beside the adapter's limits, which are measured first.
async fn against_ceilings(options: &Options, ceilings: &Ceilings, output: &Output<'_>) -> Result<()> {
    if options.what == What::Race {
        race::run(options, ceilings, output).await?;
    }
    if options.asks_for(What::Kernels) {
        kernels::run(options, ceilings, output).await?;
    }
    if options.asks_for(What::Ratios) {
        ratios::run(options, output).await?;
    }
    Ok(())
}

/// What is measured on any device, against its limits where they are known.
async fn measure(options: &Options, ceilings: Option<&Ceilings>, output: &Output<'_>) -> Result<()> {
    if options.asks_for(What::Step) {
        step::run(options, ceilings, output).await?;
    }
    if options.asks_for(What::Generate) {
        generate::run(options, ceilings, output).await?;
    }
    Ok(())
}

fn adapter(device: &Device, output: &Output<'_>) {
    let summary = device.summary();
    output.result(
        "adapter",
        json!({
            "name": summary.name,
            "backend": summary.backend,
            "driver": summary.driver,
            "is_software": summary.is_software,
            "subgroup_sizes": summary.subgroup_sizes,
            "has_f16": summary.has_f16,
            "has_timestamps": summary.has_timestamps,
            "cooperative_sides": summary.cooperative_sides,
            "max_buffer_bytes": summary.max_buffer_bytes,
            "max_storage_binding_bytes": summary.max_storage_binding_bytes,
            "max_workgroup_storage_bytes": summary.max_workgroup_storage_bytes,
            "tiles": Tile::ALL.into_iter().filter(|tile| tile.runs_on(summary)).map(Tile::name).collect::<Vec<_>>(),
        }),
    );
}
