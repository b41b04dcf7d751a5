//! Every kernel at the sizes of a model, against what the adapter can do at most.

mod linear;
mod lora;
mod loss;
mod others;

use serde_json::json;
use tabtune::device::Device;
use tabtune::error::{Code, Result};
use tabtune::kernels::Recorder;
use tabtune::kernels::linear::Tile;

use crate::arena::Arena;
use crate::ceilings::Ceilings;
use crate::open;
use crate::options::Options;
use crate::output::{Output, Table, digits, percent, rounded};
use crate::shapes::Shape;
use crate::timing::{Competitor, Times, race};

/// A kernel at one size, to be recorded.
pub struct Case {
    /// The kernel, e.g. `linear_forward`.
    pub kernel: &'static str,
    /// What of it, e.g. `nf4 subgroup8`.
    pub variant: String,
    /// The sizes, by the letters of the glossary.
    pub size: String,
    /// Floating-point operations that the result takes.
    pub flops: u64,
    /// Bytes of all that must be read and written, each once.
    pub bytes: u64,
    /// What it is lowered for.
    pub tile: Tile,
    pub record: Box<dyn FnOnce(&mut Recorder)>,
}

/// A case of a kernel without variants, on the tile that suits the adapter.
fn case(
    sizes: &Sizes<'_>,
    kernel: &'static str,
    size: String,
    flops: usize,
    bytes: usize,
    record: impl FnOnce(&mut Recorder) + 'static,
) -> Case {
    Case {
        kernel,
        variant: String::new(),
        size,
        flops: flops as u64,
        bytes: bytes as u64,
        tile: sizes.tile,
        record: Box::new(record),
    }
}

/// What cases are made from.
pub struct Sizes<'a> {
    pub shape: &'a Shape,
    /// M.
    pub rows: usize,
    /// The tile that suits the adapter.
    pub tile: Tile,
    /// All that run on the adapter.
    pub tiles: &'a [Tile],
}

impl Sizes<'_> {
    pub fn queries(&self) -> usize {
        self.shape.heads * self.shape.head_dim
    }

    /// The width of the keys, and of the values.
    pub fn keys(&self) -> usize {
        self.shape.kv_heads * self.shape.head_dim
    }

    pub fn qkv(&self) -> usize {
        self.queries() + 2 * self.keys()
    }

    /// The stacked products of a layer with their N and K.
    pub fn products(&self) -> [(&'static str, usize, usize); 4] {
        let Shape { hidden, intermediate, .. } = *self.shape;
        [
            ("qkv", self.qkv(), hidden),
            ("o", hidden, self.queries()),
            ("gate_up", 2 * intermediate, hidden),
            ("down", hidden, intermediate),
        ]
    }
}

/// How often a race goes round.
const TURNS: usize = 5;

/// M where none was asked for.
pub fn default_rows(device: &Device) -> usize {
    if device.summary().is_software { 256 } else { 1024 }
}

/// Measures all kernels at the shape of `options`.
pub async fn run(options: &Options, ceilings: &Ceilings, output: &Output<'_>) -> Result<()> {
    let device = open().await?;
    let tiles: Vec<Tile> = Tile::ALL.into_iter().filter(|tile| tile.runs_on(device.summary())).collect();
    let sizes = Sizes {
        shape: options.shape,
        rows: options.tokens.unwrap_or_else(|| default_rows(&device)),
        tile: Tile::for_adapter(device.summary()),
        tiles: &tiles,
    };
    let title = format!("kernels of {} at M {}", sizes.shape.name, sizes.rows);
    output.note(&title);
    let mut bench = Bench {
        device: &device,
        ceilings,
        output,
        table: Table::new(title, &["kernel", "size", "ms", "GFLOP/s", "GB/s", "bound by", "share"]),
    };
    linear::run(&sizes, &mut bench).await?;
    lora::run(&sizes, &mut bench).await?;
    others::run(&sizes, &mut bench).await?;
    loss::run(&sizes, &mut bench).await?;
    output.table(bench.table);
    Ok(())
}

/// Measures cases and reports them.
pub struct Bench<'a, 'b> {
    device: &'a Device,
    ceilings: &'a Ceilings,
    output: &'a Output<'b>,
    table: Table,
}

impl Bench<'_, '_> {
    /// Races the cases that `make` makes on tensors of their own. What does not fit one binding is left
    /// out with a note.
    pub async fn race(&mut self, make: impl FnOnce(&mut Arena) -> Result<Vec<Case>>) -> Result<()> {
        let mut arena = Arena::new(self.device);
        let cases = match make(&mut arena) {
            Ok(cases) => cases,
            Err(error) if error.code == Code::OutOfMemory => {
                self.output.note(&format!("left out: {error}"));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let (mut competitors, mut measured) = (Vec::new(), Vec::new());
        for Case { kernel, variant, size, flops, bytes, tile, record } in cases {
            match Competitor::new(self.device, &arena.store, tile, record).await {
                Ok(competitor) => competitors.push(competitor),
                Err(error) if error.code == Code::OutOfMemory => {
                    self.output.note(&format!("{kernel} {variant} {size} is left out: {error}"));
                    continue;
                }
                Err(error) => return Err(error),
            }
            measured.push((kernel, variant, size, flops, bytes));
        }
        let times = race(self.device, &competitors, TURNS).await?;
        for ((kernel, variant, size, flops, bytes), times) in measured.into_iter().zip(times) {
            self.report(kernel, &variant, &size, [flops, bytes], times);
        }
        Ok(())
    }

    /// A share above one means that a small operand stayed in a cache from run to run.
    fn report(&mut self, kernel: &str, variant: &str, size: &str, [flops, bytes]: [u64; 2], times: Times) {
        let rate = |amount: u64| amount as f64 / times.median / 1e9;
        let share = self.ceilings.seconds(flops, bytes) / times.median;
        let bound = if self.ceilings.is_bound_by_flops(flops, bytes) { "flops" } else { "bytes" };
        self.output.result(
            "kernel",
            json!({
                "kernel": kernel,
                "variant": variant,
                "size": size,
                "ms": rounded(times.median * 1e3),
                "ms_best": rounded(times.best * 1e3),
                "flops": flops,
                "bytes": bytes,
                "gflops": rounded(rate(flops)),
                "gbps": rounded(rate(bytes)),
                "bound_by": bound,
                "share": rounded(share),
            }),
        );
        self.table.row(vec![
            format!("{kernel} {variant}"),
            size.to_owned(),
            digits(times.median * 1e3),
            digits(rate(flops)),
            digits(rate(bytes)),
            bound.to_owned(),
            percent(share),
        ]);
    }
}
