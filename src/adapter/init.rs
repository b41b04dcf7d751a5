//! The first values of an adapter.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use std::ops::Range;

use super::{InitLoraWeights, LoraConfig, LoraModule, Side};

/// The stream of random numbers that adapters start from: the same for a seed on every platform.
pub struct LoraRng(ChaCha8Rng);

impl LoraRng {
    pub fn new(seed: u64) -> Self {
        LoraRng(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Uniform in [0, 1), a multiple of 2⁻²⁴.
    fn uniform(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32
    }

    /// A normal number, by the first of the two that Box and Muller (1958) make of two uniform ones.
    fn normal(&mut self) -> f32 {
        let [one, other] = [self.uniform(), self.uniform()].map(f64::from);
        ((-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * other).cos()) as f32
    }

    /// The start that PEFT's `init_lora_weights` means. By default A is uniform in ±1/√in (`kaiming_uniform_` with
    /// a = √5) and B zero, so that the adapted model starts as the base model. Modules draw one after the other, and rows
    /// of A, then of B, in their order.
    pub fn first_rows(
        &mut self,
        config: &LoraConfig,
        module: &LoraModule,
        side: Side,
        rows: Range<usize>,
    ) -> Vec<f32> {
        let r = config.rank_of(module);
        let [_, cols] = module.shape(side, r);
        let count = rows.len() * cols;
        let bound = 1.0 / (cols as f32).sqrt();
        match (side, config.init_lora_weights) {
            (Side::A, InitLoraWeights::Gaussian) => (0..count).map(|_| self.normal() / r as f32).collect(),
            (Side::A, InitLoraWeights::Kaiming) | (_, InitLoraWeights::Linear) => {
                (0..count).map(|_| (2.0 * self.uniform() - 1.0) * bound).collect()
            }
            (Side::B, _) => vec![0.0; count],
        }
    }
}
