//! The first values of an adapter.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use std::ops::Range;

use super::{LoraModule, Side};

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

    /// PEFT's default start: A uniform in ±1/√in (`kaiming_uniform_` with a = √5), B zero, so that the adapted model
    /// starts as the base model. Modules draw one after the other, and rows of A in their order.
    pub fn first_rows(&mut self, module: &LoraModule, r: usize, side: Side, rows: Range<usize>) -> Vec<f32> {
        let [_, cols] = module.shape(side, r);
        let count = rows.len() * cols;
        match side {
            Side::A => {
                let bound = 1.0 / (module.in_features as f32).sqrt();
                (0..count).map(|_| (2.0 * self.uniform() - 1.0) * bound).collect()
            }
            Side::B => vec![0.0; count],
        }
    }
}
