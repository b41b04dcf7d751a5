//! Products of the engine at the sizes that other libraries are compared at.

use serde_json::json;
use tabtune::device::Device;
use tabtune::error::Result;
use tabtune::format::WeightFormat;
use tabtune::kernels::linear::{self, Params, Tile};
use tabtune::kernels::lower::Target;

use crate::arena::Arena;
use crate::output::{Output, Table, digits, rounded};
use crate::timing::{Competitor, race};

/// Rows, columns and depth.
const SIZES: [(usize, usize, usize); 4] =
    [(128, 1536, 576), (512, 512, 512), (512, 2048, 2048), (1, 2048, 2048)];
const FORMATS: [WeightFormat; 2] = [WeightFormat::F32, WeightFormat::Nf4];
const TURNS: usize = 9;

/// Measures the products x·Wᵀ on `device`, dense and in 4 bits by turns; the best turn counts, as it does for others.
pub async fn run(device: &Device, output: &Output<'_>) -> Result<()> {
    let target = Target::of(device, &Tile::for_adapter(device.summary()).into());
    let mut table = Table::new(format!("products on {}", output.adapter()), &["", "ms", "GFLOP/s"]);
    for (rows, cols, depth) in SIZES {
        let mut arena = Arena::new(device);
        let mut competitors = Vec::new();
        for format in FORMATS {
            let weight = arena.weight(format, cols, depth)?;
            let (x, y) = (arena.values(rows * depth)?, arena.empty(rows * cols)?);
            let params = Params::plain(rows, cols, depth);
            let record = |rec: &mut _| linear::forward(rec, params, x, weight, None, None, y);
            competitors.push(Competitor::new(device, &arena.store, target.clone(), record).await?);
        }
        let times = race(device, &competitors, TURNS).await?;
        for (format, times) in FORMATS.into_iter().zip(times) {
            let gflops = 2.0 * (rows * cols * depth) as f64 / times.best / 1e9;
            output.result(
                "product",
                json!({
                    "format": format.name(),
                    "rows": rows,
                    "cols": cols,
                    "depth": depth,
                    "ms": rounded(times.best * 1e3),
                    "ms_median": rounded(times.median * 1e3),
                    "gflops": rounded(gflops),
                }),
            );
            let name = format!("{} {rows} × {cols} × {depth}", format.name());
            table.row(vec![name, digits(times.best * 1e3), digits(gflops)]);
        }
    }
    output.table(table);
    Ok(())
}
