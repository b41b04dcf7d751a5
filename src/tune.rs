//! Chooses tiles by timing them on the device at hand.
//!
//! One fixed configuration reaches on average four fifths, and at worst less than half, of what each
//! GPU's own best one does (llama.cpp, pull request 22241). Candidates must first agree with the plain
//! twin: drivers have been seen to compile a variant wrongly, and a fast wrong one must not win.

mod race;

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use web_time::Instant;
use xxhash_rust::xxh3::Xxh3;

use crate::bail;
use crate::device::{Device, ReadbackRing, Store, Workspace};
use crate::error::Result;
use crate::format::WeightFormat;
use crate::gpu::AdapterSummary;
use crate::kernels::Recorder;
use crate::kernels::linear::{self, Params, Tile, Weight};
use crate::kernels::lower::lower;
use crate::kernels::shaders;
use crate::kernels::tiles::{Choice, Direction, Product, Shape, Tiles};
use crate::memory::{Class, ProgramId, Tensor};
use crate::reference;

/// What tuning may take when a model is loaded.
pub const LOAD_SECONDS: f64 = 2.0;
/// The numbers of rows that are timed: short steps and prompts, and full steps.
const ROWS: [u32; 2] = [64, 512];
/// The columns of W that are timed at most: they fill any GPU, and a head has many times more.
pub const MOST_COLS: u32 = 8192;
/// What |result − twin| may be over ‖x row‖·‖w row‖.
const TOLERANCE: f64 = 2e-6;

/// A kernel that may turn out wrong on a device.
type Variant = (Tile, WeightFormat, Direction);

/// What tuning found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tuning {
    pub tiles: Tiles,
    /// Whether every product was timed before the time was up.
    pub complete: bool,
    /// Candidates that did not agree with the twin.
    pub rejected: Vec<Variant>,
    /// Seconds of every candidate: the median of its turns.
    pub timings: Vec<(Choice, f64)>,
}

impl Tuning {
    /// Nothing found yet: the adapter's default for every product.
    pub fn new(adapter: &AdapterSummary) -> Self {
        let tiles = Tile::for_adapter(adapter).into();
        Tuning { tiles, complete: false, rejected: Vec::new(), timings: Vec::new() }
    }
}

/// The key under which a tuning is kept: another adapter, driver, browser, text of the shaders or choice
/// of candidates needs another.
pub fn cache_key(adapter: &AdapterSummary, products: &[Product], candidates: &[Tile]) -> String {
    let mut hash = Xxh3::new();
    for (name, text) in shaders::all().filter(|(name, _)| name.starts_with("linear_")) {
        hash.update(name.as_bytes());
        hash.update(text.as_bytes());
    }
    let AdapterSummary { name, backend, driver, browser, subgroup_sizes, .. } = adapter;
    let device = format!("{name}|{backend}|{driver}|{browser}|{subgroup_sizes:?}");
    hash.update(format!("{device}|{products:?}|{candidates:?}").as_bytes());
    format!("tiles-{:016x}", hash.digest())
}

/// The tiles worth timing on an adapter, with those that round NF4 to f16 or without.
pub fn candidates(adapter: &AdapterSummary, with_f16: bool) -> Vec<Tile> {
    Tile::ALL.into_iter().filter(|tile| tile.is_for(adapter) && (with_f16 || !tile.is_half())).collect()
}

/// Times `candidates` on those of `products` that `tuning` has no choice for, for at most `budget` seconds
/// and what is under way then. What was not timed keeps the default, which is checked in any case.
///
/// # Errors
///
/// `internal` where every tile that could be the default computes something else than the twin.
pub async fn tune(
    device: &Device,
    products: &[Product],
    candidates: &[Tile],
    budget: f64,
    tuning: &mut Tuning,
) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs_f64(budget);
    let is_late = || Instant::now() >= deadline;
    tuning.complete = true;
    let known = tuning.rejected.iter().map(|&variant| (variant, false)).collect();
    let mut checks = Checks { device, known, rejected: &mut tuning.rejected };
    tuning.tiles.default = checks.sound_default(tuning.tiles.default, products, candidates).await?;
    // The larger number of rows comes first: it is where most time goes.
    for rows in ROWS.into_iter().rev() {
        let timed = products.iter().filter(|product| product.takes(rows)).map(|product| product.shape);
        for (direction, shape) in
            Direction::ALL.into_iter().flat_map(|it| timed.clone().map(move |shape| (it, shape)))
        {
            let is_this = |it: &Choice| (it.direction, it.shape, it.rows) == (direction, shape, rows);
            if tuning.tiles.choices.iter().any(is_this) {
                continue;
            }
            let mut fit = Vec::new();
            for &tile in candidates.iter().filter(|tile| tile.suits(shape.format)) {
                if is_late() {
                    break;
                }
                let fits = !tile.decodes() || linear::fits_scratch(shape.cols as usize, shape.depth as usize);
                if fits && checks.agrees((tile, shape.format, direction)).await? {
                    fit.push(tile);
                }
            }
            let Some(timings) = time(device, direction, shape, rows, &fit, is_late).await? else {
                tuning.complete = false;
                break;
            };
            let choice = |&(tile, seconds)| (Choice { direction, shape, rows, tile }, seconds);
            tuning.timings.extend(timings.iter().map(choice));
            if let Some(&(tile, _)) = timings.iter().min_by(|a, b| a.1.total_cmp(&b.1)) {
                tuning.tiles.choices.push(Choice { direction, shape, rows, tile });
            }
        }
    }
    device.check()
}

/// Which variants agree with the twin, each found out once.
struct Checks<'a> {
    device: &'a Device,
    known: HashMap<Variant, bool>,
    rejected: &'a mut Vec<Variant>,
}

impl Checks<'_> {
    async fn agrees(&mut self, variant: Variant) -> Result<bool> {
        if let Some(&known) = self.known.get(&variant) {
            return Ok(known);
        }
        let (tile, format, direction) = variant;
        let agrees = agrees(self.device, tile, format, direction).await?;
        self.known.insert(variant, agrees);
        if !agrees {
            self.rejected.push(variant);
        }
        Ok(agrees)
    }

    /// `default`, or the first candidate in its place that is right for all that a default is used for:
    /// the weights of every product, and LoRA's factors, which are f32.
    async fn sound_default(
        &mut self,
        default: Tile,
        products: &[Product],
        candidates: &[Tile],
    ) -> Result<Tile> {
        let formats = WeightFormat::ALL.into_iter().filter(|&format| {
            format == WeightFormat::F32 || products.iter().any(|product| product.shape.format == format)
        });
        let used: Vec<(WeightFormat, Direction)> =
            formats.flat_map(|format| Direction::ALL.map(|direction| (format, direction))).collect();
        // A default rounds nothing, and a decoded copy of whatever comes would take much memory.
        let others = candidates.iter().copied().filter(|tile| !tile.is_half() && !tile.decodes());
        'tiles: for tile in std::iter::once(default).chain(others) {
            for &(format, direction) in &used {
                if !self.agrees((tile, format, direction)).await? {
                    continue 'tiles;
                }
            }
            return Ok(tile);
        }
        bail!(
            Internal,
            "the GPU or its driver computes matrix products wrongly, by every kernel that there is: {:?}",
            self.rejected
        )
    }
}

/// Those of `pairs` that the adapter runs and that suit one another, in both directions, and whether they agree.
pub async fn check_all(
    device: &Device,
    pairs: impl IntoIterator<Item = (Tile, WeightFormat)>,
) -> Result<Vec<(Tile, WeightFormat, Direction, bool)>> {
    let mut found = Vec::new();
    let runs = |&(tile, format): &(Tile, WeightFormat)| tile.runs_on(device.summary()) && tile.suits(format);
    for (tile, format) in pairs.into_iter().filter(runs) {
        for direction in Direction::ALL {
            found.push((tile, format, direction, agrees(device, tile, format, direction).await?));
        }
    }
    Ok(found)
}

/// Whether a tile's product agrees with the plain twin, at awkward numbers of rows and columns.
pub async fn agrees(device: &Device, tile: Tile, format: WeightFormat, direction: Direction) -> Result<bool> {
    const M: usize = 70;
    const N: usize = 136;
    // Whole blocks of every format.
    const K: usize = 256;
    let mut store = Store::new(device);
    let params = Params { scale: 0.75, ..Params::plain(M, N, K) };
    let weight = random_weight(&mut store, format, N, K)?;
    let (inputs, outputs) = match direction {
        Direction::Forward => (M * K, M * N),
        Direction::Backward => (M * N, M * K),
    };
    let x: Vec<f32> = random_words(1).take(inputs).map(signed_unit).collect();
    let x_in = store.keep(Class::Other, "input", inputs)?;
    let out = store.keep(Class::Other, "result", outputs)?;
    store.write(x_in, &x);
    let product = OneProduct { direction, params, inp: x_in, weight, out };
    let (workspace, program) = product.by(tile, device, &store).await?;
    workspace.run(&[program], 0);
    let got: Vec<f32> = ReadbackRing::read(device, &store, out).await?;

    let words: Vec<u32> = ReadbackRing::read(device, &store, weight.values).await?;
    let scales: Vec<u32> = ReadbackRing::read(device, &store, weight.scales).await?;
    let mut dense = reference::linear::decode(&params, format, &words, &scales);
    if tile.is_half() {
        reference::linear::round_to_f16(&mut dense);
    }
    let dense: Vec<f64> = dense.into_iter().map(f64::from).collect();
    let x: Vec<f64> = x.into_iter().map(f64::from).collect();
    let mut want = vec![0.0; outputs];
    match direction {
        Direction::Forward => reference::linear::forward(&params, &x, &dense, None, None, &mut want),
        Direction::Backward => reference::linear::backward(&params, &x, &dense, None, None, &mut want),
    }
    // Every value lies within ±1, so a row of length L has a norm of at most √L.
    let norm = match direction {
        Direction::Forward => K as f64,
        Direction::Backward => N as f64,
    };
    Ok(got.iter().zip(want).all(|(&got, want)| (f64::from(got) - want).abs() <= TOLERANCE * norm))
}

/// The seconds of each of `tiles` on one product, or `None` where it was late before they were known.
///
/// Of a wide product a part is timed, which takes less memory and, at equal time a column, ranks the
/// tiles alike.
async fn time(
    device: &Device,
    direction: Direction,
    shape: Shape,
    rows: u32,
    tiles: &[Tile],
    is_late: impl Fn() -> bool,
) -> Result<Option<Vec<(Tile, f64)>>> {
    if is_late() {
        return Ok(None);
    }
    let cols = shape.cols.min(MOST_COLS) as usize;
    let (depth, rows) = (shape.depth as usize, rows as usize);
    let params = Params::plain(rows, cols, depth);
    let mut store = Store::new(device);
    let weight = random_weight(&mut store, shape.format, cols, depth)?;
    let (x, out) = match direction {
        Direction::Forward => (rows * depth, rows * cols),
        Direction::Backward => (rows * cols, rows * depth),
    };
    let x = store.keep(Class::Other, "input", x)?;
    let out = store.keep(Class::Other, "result", out)?;
    let product = OneProduct { direction, params, inp: x, weight, out };
    let mut racers = Vec::new();
    for &tile in tiles {
        racers.push(product.by(tile, device, &store).await?);
    }
    let turn = async |index: usize, repeats: u32| {
        let (workspace, program) = &racers[index];
        let began = Instant::now();
        workspace.run(&vec![*program; repeats as usize], 0);
        device.idle().await;
        began.elapsed().as_secs_f64()
    };
    let seconds = race::race(racers.len(), turn, is_late).await;
    Ok(seconds.map(|seconds| tiles.iter().copied().zip(seconds).collect()))
}

/// A product on tensors of its own.
struct OneProduct {
    direction: Direction,
    params: Params,
    inp: Tensor,
    /// Of no model, so that the product takes the tile that it is told.
    weight: Weight,
    out: Tensor,
}

impl OneProduct {
    async fn by(&self, tile: Tile, device: &Device, store: &Store) -> Result<(Workspace, ProgramId)> {
        let OneProduct { direction, params, inp, weight, out } = *self;
        let mut rec = Recorder::new();
        let program = rec.program();
        match direction {
            Direction::Forward => linear::forward(&mut rec, params, inp, weight, None, None, out),
            Direction::Backward => linear::backward(&mut rec, params, inp, weight, None, None, out),
        }
        let lowered = lower(&[rec], &tile.into())?;
        let workspace = device.allocating(|| Workspace::new(device, store, &lowered)).await?;
        Ok((workspace, program))
    }
}

/// A weight of random values within ±1.
fn random_weight(store: &mut Store, format: WeightFormat, cols: usize, depth: usize) -> Result<Weight> {
    let [value, scale] = format.layout().random;
    let numbered = |seed| random_words(seed).enumerate();
    let words = numbered(2).map(|(number, word)| value(word, number));
    let values = keep_words(store, "weight", cols * format.row_words(depth), words)?;
    let words = numbered(3).map(|(number, word)| scale(word, number));
    let scales = match format.scale_words(cols, depth) {
        0 => values,
        count => keep_words(store, "scales", count, words)?,
    };
    Ok(Weight::new(format, values, scales))
}

/// A tensor of `count` of `words`. They begin anew after a piece, so that the host never holds them all:
/// WebAssembly's memory grows and never shrinks.
fn keep_words(
    store: &mut Store,
    label: &str,
    count: usize,
    words: impl Iterator<Item = u32>,
) -> Result<Tensor> {
    // Whole blocks of the scales of every format.
    const PIECE: usize = 20 << 12;
    let tensor = store.keep(Class::Other, label, count)?;
    let piece: Vec<u32> = words.take(PIECE.min(count)).collect();
    for first in (0..count).step_by(PIECE) {
        store.write_at(tensor, 4 * first as u64, &piece[..PIECE.min(count - first)]);
    }
    Ok(tensor)
}

/// Words without end, the same for the same seed: xorshift32 (Marsaglia 2003).
fn random_words(seed: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(seed.wrapping_mul(0x9e37_79b9) | 1), |&word| {
        let word = word ^ (word << 13);
        let word = word ^ (word >> 17);
        Some(word ^ (word << 5))
    })
}

fn signed_unit(word: u32) -> f32 {
    (word >> 8) as f32 / (1 << 23) as f32 - 1.0
}
