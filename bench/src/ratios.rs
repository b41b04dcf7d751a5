//! How kernels compare in one race: NF4 with dense f32, backward with forward, tiled with naive.

use serde_json::json;
use tabtune::device::{Device, ReadbackRing};
use tabtune::error::Result;
use tabtune::format::WeightFormat;
use tabtune::gpu::Dispatches;
use tabtune::kernels::Recorder;
use tabtune::kernels::linear::{self, Params, Tile};

use crate::arena::Arena;
use crate::options::Options;
use crate::output::{Output, Table, digits, rounded};
use crate::timing::{self, Competitor, race};
use crate::{kernels, naive, open};

/// The speeds of a product with one weight, in floating-point operations a second. The first of each
/// pair is forward, the second backward.
#[derive(Clone, Copy, Debug)]
pub struct Speeds {
    pub nf4: [f64; 2],
    pub f32: [f64; 2],
    /// Of the first device only: these take most of the time there, and their ratios are far from any bound.
    pub naive: Option<[f64; 2]>,
}

impl Speeds {
    /// NF4 over f32, forward and backward.
    pub fn nf4_of_f32(&self) -> [f64; 2] {
        [self.nf4[0] / self.f32[0], self.nf4[1] / self.f32[1]]
    }

    /// Backward over forward, of NF4.
    pub fn backward_of_forward(&self) -> f64 {
        self.nf4[1] / self.nf4[0]
    }

    /// NF4 in its tile over NF4 without one, forward and backward.
    pub fn tiled_of_naive(&self) -> Option<[f64; 2]> {
        self.naive.map(|naive| [self.nf4[0] / naive[0], self.nf4[1] / naive[1]])
    }
}

const TURNS: usize = 7;

/// A CPU adapter compiles a kernel once for a device, and where the code happens to lie in memory can
/// halve its speed for as long as the device lives. So devices are opened anew, and the middle counts.
pub const DEVICES: usize = 5;

/// Races the products of `tile` and the naive ones at `size` (M, N, K; K a multiple of 64), on
/// `devices` one after another.
pub async fn measure(tile: Tile, size: [usize; 3], devices: usize) -> Result<Vec<Speeds>> {
    let mut speeds = Vec::new();
    for device in 0..devices {
        speeds.push(measure_on(&open().await?, tile, size, device == 0).await?);
    }
    Ok(speeds)
}

/// What `of` tells of the middle one of several measurements, of those that have it.
pub fn median(speeds: &[Speeds], of: impl Fn(&Speeds) -> Option<f64>) -> f64 {
    timing::median(speeds.iter().filter_map(of).collect())
}

async fn measure_on(device: &Device, tile: Tile, size: [usize; 3], with_naive: bool) -> Result<Speeds> {
    let [m, n, k] = size;
    naive::add_shaders(device);
    let mut arena = Arena::new(device);
    let (x, y) = (arena.values(m * k)?, arena.empty(m * n)?);
    let (dy, dx) = (arena.values(m * n)?, arena.empty(m * k)?);
    let nf4 = arena.weight(WeightFormat::Nf4, n, k)?;
    let dense = arena.weight(WeightFormat::F32, n, k)?;
    let table = arena.empty(16)?;
    arena.store.write(table, &naive::table());

    let params = Params::plain(m, n, k);
    let mut competitors = Vec::new();
    for weight in [nf4, dense] {
        let forward = |rec: &mut _| linear::forward(rec, params, x, weight, None, None, y);
        competitors.push(Competitor::new(device, &arena.store, tile, forward).await?);
        let backward = |rec: &mut _| linear::backward(rec, params, dy, weight, None, None, dx);
        competitors.push(Competitor::new(device, &arena.store, tile, backward).await?);
    }
    if with_naive {
        let forward = |out: &mut Dispatches| naive::forward(out, size, x, nf4, table, y);
        competitors.push(Competitor::of_dispatches(device, &arena.store, forward).await?);
        let backward = |out: &mut Dispatches| naive::backward(out, size, dy, nf4, table, dx);
        competitors.push(Competitor::of_dispatches(device, &arena.store, backward).await?);
    }

    let flops = 2.0 * m as f64 * (n * k) as f64;
    let speeds: Vec<f64> =
        race(device, &competitors, TURNS).await?.iter().map(|times| flops / times.median).collect();
    let pair = |first: usize| [speeds[first], speeds[first + 1]];
    Ok(Speeds { nf4: pair(0), f32: pair(2), naive: with_naive.then(|| pair(4)) })
}

/// Reports the ratios of every tile that runs on the adapter, at the products of the shape's layer.
pub async fn run(options: &Options, output: &Output<'_>) -> Result<()> {
    let device = open().await?;
    let rows = options.tokens.unwrap_or_else(|| kernels::default_rows(&device));
    let tiles: Vec<Tile> = Tile::ALL.into_iter().filter(|tile| tile.runs_on(device.summary())).collect();
    let sizes = kernels::Sizes {
        shape: options.shape,
        rows,
        tile: Tile::for_adapter(device.summary()),
        tiles: &tiles,
    };
    let columns = [
        "tile and product",
        "NF4 GFLOP/s",
        "of f32",
        "backward of f32",
        "of forward",
        "of naive",
        "backward of naive",
    ];
    let mut table = Table::new(format!("ratios of {} at M {rows}", options.shape.name), &columns);
    for &tile in &tiles {
        for (name, cols, depth) in sizes.products() {
            // The other tiles are there for comparison, which one product on one device gives.
            let is_own = tile == sizes.tile;
            if !is_own && name != "gate_up" {
                continue;
            }
            let tile_name = tile.name();
            output.note(&format!("ratios of {tile_name}, {name}"));
            let speeds = measure(tile, [rows, cols, depth], if is_own { DEVICES } else { 1 }).await?;
            let pair = |of: fn(&Speeds) -> Option<[f64; 2]>| {
                [0, 1].map(|i| median(&speeds, |speeds| of(speeds).map(|pair| pair[i])))
            };
            let nf4 = pair(|speeds| Some(speeds.nf4));
            let (of_f32, of_naive) = (pair(|speeds| Some(speeds.nf4_of_f32())), pair(Speeds::tiled_of_naive));
            let backward_of_forward = median(&speeds, |speeds| Some(speeds.backward_of_forward()));
            output.result(
                "ratios",
                json!({
                    "shape": options.shape.name,
                    "tile": tile_name,
                    "size": format!("{name} M{rows} N{cols} K{depth}"),
                    "nf4_gflops": nf4.map(|speed| rounded(speed / 1e9)),
                    "f32_gflops": pair(|speeds| Some(speeds.f32)).map(|speed| rounded(speed / 1e9)),
                    "naive_gflops": pair(|speeds| speeds.naive).map(|speed| rounded(speed / 1e9)),
                    "nf4_of_f32": of_f32.map(rounded),
                    "backward_of_forward": rounded(backward_of_forward),
                    "tiled_of_naive": of_naive.map(rounded),
                }),
            );
            table.row(vec![
                format!("{tile_name} {name}"),
                digits(nf4[0] / 1e9),
                digits(of_f32[0]),
                digits(of_f32[1]),
                digits(backward_of_forward),
                digits(of_naive[0]),
                digits(of_naive[1]),
            ]);
        }
    }
    output.table(table);
    Ok(())
}

/// The largest difference between a tiled product and the naive one, forward and backward, over the
/// largest result; small where both compute the same.
pub async fn difference(device: &Device, tile: Tile, size: [usize; 3]) -> Result<[f32; 2]> {
    let [m, n, k] = size;
    naive::add_shaders(device);
    let mut arena = Arena::new(device);
    let (x, dy) = (arena.values(m * k)?, arena.values(m * n)?);
    let nf4 = arena.weight(WeightFormat::Nf4, n, k)?;
    let table = arena.empty(16)?;
    arena.store.write(table, &naive::table());
    let results = [arena.empty(m * n)?, arena.empty(m * n)?, arena.empty(m * k)?, arena.empty(m * k)?];
    let params = Params::plain(m, n, k);
    let tiled = |rec: &mut Recorder| {
        linear::forward(rec, params, x, nf4, None, None, results[0]);
        linear::backward(rec, params, dy, nf4, None, None, results[2]);
    };
    Competitor::new(device, &arena.store, tile, tiled).await?.wall_seconds(device, 1).await;
    let naive = |out: &mut Dispatches| {
        naive::forward(out, size, x, nf4, table, results[1]);
        naive::backward(out, size, dy, nf4, table, results[3]);
    };
    Competitor::of_dispatches(device, &arena.store, naive).await?.wall_seconds(device, 1).await;
    let mut read = Vec::new();
    for result in results {
        read.push(ReadbackRing::read::<f32>(device, &arena.store, result).await?);
    }
    let between = |a: &[f32], b: &[f32]| {
        let largest = b.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        a.iter().zip(b).fold(0.0f32, |most, (a, b)| most.max((a - b).abs())) / largest
    };
    Ok([between(&read[0], &read[1]), between(&read[2], &read[3])])
}
