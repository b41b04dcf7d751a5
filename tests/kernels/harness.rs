//! Runs one recording on the machine's adapter. A machine without an adapter fails the tests.

use crate::gpu::gpu;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use tabtune::cpu::Cpu;
use tabtune::device::{Device, ReadbackRing, Store, Workspace};
use tabtune::kernels::Recorder;
use tabtune::kernels::linear::Tile;
use tabtune::kernels::lower::{Target, lower};
use tabtune::memory::{Class, Tensor};

/// The processor as a device.
pub fn processor() -> Device {
    Cpu::open(None).expect("threads can be started").into()
}

/// What computes a product: a tile of the GPU's, or the processor.
#[derive(Clone, Copy, Debug)]
pub enum By {
    Tile(Tile),
    Processor,
}

impl By {
    /// Whether weights are rounded to f16.
    pub fn is_half(self) -> bool {
        matches!(self, By::Tile(tile) if tile.is_half())
    }
}

/// One test's tensors.
pub struct Harness {
    target: Target,
    device: Device,
    store: Store,
}

impl Harness {
    /// One that runs the variants for GPUs.
    pub fn new() -> Self {
        Self::on(Tile::Shared64)
    }

    /// One that runs the variants for the adapters that `tile` is for, and products by that tile.
    pub fn on(tile: Tile) -> Self {
        Self::by(By::Tile(tile))
    }

    /// One on the processor, or [`Harness::on`] a tile.
    pub fn by(by: By) -> Self {
        let (device, target) = match by {
            By::Tile(tile) => (gpu(), tile.into()),
            By::Processor => (processor(), Target::Cpu),
        };
        let store = Store::new(&device);
        Harness { target, device, store }
    }

    /// One on the GPU and one on the processor.
    pub fn each() -> [Self; 2] {
        [Self::new(), Self::by(By::Processor)]
    }

    /// One that runs the variants for GPUs, those for CPU adapters with and without subgroups, and one on the processor.
    pub fn all() -> Vec<Self> {
        let subgroups = gpu().summary().subgroup_sizes[0];
        assert!(!gpu().summary().is_software || subgroups >= 8, "a CPU adapter without subgroups of 8");
        let tiles = [(0, Tile::Shared64), (0, Tile::Direct), (4, Tile::Subgroup4), (8, Tile::Subgroup8)];
        tiles
            .into_iter()
            .filter(|&(lanes, _)| lanes <= subgroups)
            .map(|(_, tile)| Self::on(tile))
            .chain([Self::by(By::Processor)])
            .collect()
    }

    /// Those of [`Harness::all`] that run different variants of a kernel for teams: workgroups together on GPUs, each
    /// invocation alone on CPU adapters; and one on the processor.
    pub fn teams() -> [Self; 3] {
        [Self::new(), Self::on(Tile::Direct), Self::by(By::Processor)]
    }

    /// Whether it runs on a GPU, or what plays one.
    pub fn is_on_gpu(&self) -> bool {
        matches!(self.target, Target::Gpu(_))
    }

    /// The same with kernels cut at so many floating-point operations, as far as they can be.
    pub fn cut_at(mut self, most_flops: u64) -> Self {
        self.target = self.target.cut_at(most_flops);
        self
    }

    /// Has the GPU of all harnesses learn that it is slow, so that its submits are as short as they get.
    pub fn expect_short_submits() {
        for _ in 0..16 {
            gpu().learn_speed(1, 1.0);
        }
    }

    /// Dispatches of all harnesses so far.
    pub fn dispatches(&self) -> u64 {
        self.device.counters().dispatches()
    }

    /// A tensor holding `values`.
    pub fn input(&mut self, values: &[f32]) -> Tensor {
        let tensor = self.keep(values.len());
        self.store.write(tensor, values);
        tensor
    }

    /// A tensor holding `values`.
    pub fn input_u32(&mut self, values: &[u32]) -> Tensor {
        let tensor = self.keep(values.len());
        self.store.write(tensor, values);
        tensor
    }

    /// A tensor whose every value is a NaN until a kernel writes it.
    pub fn output(&mut self, elements: usize) -> Tensor {
        self.input_u32(&vec![u32::MAX; elements])
    }

    fn keep(&mut self, elements: usize) -> Tensor {
        self.store.keep(Class::Other, "test", elements).expect("a test's tensor fits")
    }

    /// Runs what `record` records.
    pub fn run(&mut self, record: impl FnOnce(&mut Recorder)) {
        self.run_for(&self.target.clone(), record);
    }

    /// Runs what `record` records, with products by `tile` on a GPU.
    pub fn run_by(&mut self, tile: Tile, record: impl FnOnce(&mut Recorder)) {
        let target = match self.target {
            Target::Gpu(_) => tile.into(),
            Target::Cpu => Target::Cpu,
        };
        self.run_for(&target, record);
    }

    fn run_for(&mut self, target: &Target, record: impl FnOnce(&mut Recorder)) {
        let mut recorder = Recorder::new();
        let program = recorder.program();
        record(&mut recorder);
        let dispatches = lower(&[recorder], target).expect("one recording is like itself");
        let made = self.device.allocating(|| Workspace::new(&self.device, &self.store, &dispatches));
        let workspace = pollster::block_on(made).expect("the recording can be made");
        workspace.run(&[program], 0);
        self.device.check().expect("the adapter accepts the program");
    }

    pub fn read(&self, tensor: Tensor) -> Vec<f32> {
        self.read_as(tensor)
    }

    pub fn read_u32(&self, tensor: Tensor) -> Vec<u32> {
        self.read_as(tensor)
    }

    fn read_as<T: bytemuck::Pod>(&self, tensor: Tensor) -> Vec<T> {
        pollster::block_on(ReadbackRing::read(&self.device, &self.store, tensor))
            .expect("a tensor can be read")
    }

    /// `count` seeded values, uniform in `low..high`.
    pub fn random(&self, seed: u64, count: usize, low: f32, high: f32) -> Vec<f32> {
        random(seed, count, low, high)
    }
}

/// `count` seeded values, uniform in `low..high`.
pub fn random(seed: u64, count: usize, low: f32, high: f32) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| low + (high - low) * (rng.next_u32() >> 8) as f32 / (1 << 24) as f32).collect()
}

/// Fails unless `|got − want| ≤ tolerance · max(1, |want|)` everywhere, naming the first mismatches.
#[track_caller]
pub fn assert_close(name: &str, got: &[f32], want: &[f32], tolerance: f32) {
    let scales: Vec<f32> = want.iter().map(|want| want.abs().max(1.0)).collect();
    assert_close_scaled(name, got, want, &scales, tolerance);
}

/// Fails unless `|got − want| ≤ tolerance · scale` everywhere, naming the first mismatches.
#[track_caller]
pub fn assert_close_scaled(name: &str, got: &[f32], want: &[f32], scales: &[f32], tolerance: f32) {
    assert!(got.len() >= want.len(), "{name}: {} values, expected {}", got.len(), want.len());
    let mismatches: Vec<String> = (0..want.len())
        .filter(|&i| {
            let error = (got[i] - want[i]).abs();
            error.is_nan() || error > tolerance * scales[i]
        })
        .map(|i| format!("  [{i}] got {} want {} (scale {})", got[i], want[i], scales[i]))
        .collect();
    let shown = mismatches.iter().take(8).cloned().collect::<Vec<_>>().join("\n");
    assert!(mismatches.is_empty(), "{name}: {} of {} differ\n{shown}", mismatches.len(), want.len());
}

pub fn to_f64(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

pub fn to_f32(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}
