//! Tensors with values of no meaning, to run kernels on.

use tabtune::device::{Device, Store};
use tabtune::error::Result;
use tabtune::format::WeightFormat;
use tabtune::kernels::linear::Weight;
use tabtune::memory::{Class, Tensor};

use crate::synthetic::{random_ids, random_values, random_words};

/// The tensors of one measurement. All are freed with it.
pub struct Arena {
    pub store: Store,
    seed: u64,
}

impl Arena {
    pub fn new(device: &Device) -> Self {
        Arena { store: Store::new(device), seed: 0 }
    }

    /// `count` values uniform in ±1.
    pub fn values(&mut self, count: usize) -> Result<Tensor> {
        self.seed += 1;
        let tensor = self.empty(count)?;
        self.store.write(tensor, &random_values(self.seed, count, 1.0));
        Ok(tensor)
    }

    /// `count` values that are zero until a kernel writes them.
    pub fn empty(&mut self, count: usize) -> Result<Tensor> {
        self.store.keep(Class::Other, "bench", count)
    }

    /// The numbers themselves.
    pub fn numbers(&mut self, numbers: &[u32]) -> Result<Tensor> {
        let tensor = self.empty(numbers.len())?;
        self.store.write(tensor, numbers);
        Ok(tensor)
    }

    /// `count` token ids below `vocab`.
    pub fn ids(&mut self, count: usize, vocab: usize) -> Result<Tensor> {
        self.seed += 1;
        self.numbers(&random_ids(self.seed, count, vocab))
    }

    /// Random words with only the bits of `keep`, and all of those of `set`.
    fn words(&mut self, count: usize, keep: u32, set: u32) -> Result<Tensor> {
        self.seed += 1;
        let words = random_words(self.seed, count).map(|word| word & keep | set);
        self.numbers(&words.collect::<Vec<_>>())
    }

    /// A weight [cols, depth] of small values; `depth` is a multiple of 64.
    pub fn weight(&mut self, format: WeightFormat, cols: usize, depth: usize) -> Result<Weight> {
        let count = cols * format.row_words(depth);
        let values = match format {
            WeightFormat::F32 => return Ok(Weight::f32(self.values(count)?)),
            // Sign, mantissa and an exponent of 2⁻⁷ in each half.
            WeightFormat::F16 => self.words(count, 0x83ff_83ff, 0x2000_2000)?,
            WeightFormat::Bf16 => self.words(count, 0x807f_807f, 0x3c00_3c00)?,
            WeightFormat::Nf4 | WeightFormat::Nf4Any => {
                let values = self.words(count, u32::MAX, 0)?;
                let scales = self.empty(format.scale_words(cols, depth))?;
                self.store.write(scales, &vec![0.02f32; format.scale_words(cols, depth)]);
                return Ok(Weight::new(format, values, scales));
            }
            _ => return self.any_weight(format, cols, depth),
        };
        Ok(Weight::new(format, values, values))
    }

    /// A weight of values within ±1 in a format with scales.
    fn any_weight(&mut self, format: WeightFormat, cols: usize, depth: usize) -> Result<Weight> {
        let sizes = [cols * format.row_words(depth), format.scale_words(cols, depth)];
        let mut tensors = Vec::new();
        for (random, size) in format.layout().random.into_iter().zip(sizes) {
            self.seed += 1;
            let words = random_words(self.seed, size).enumerate();
            tensors
                .push(self.numbers(&words.map(|(number, word)| random(word, number)).collect::<Vec<_>>())?);
        }
        Ok(Weight::new(format, tensors[0], tensors[1]))
    }
}

/// Bytes of a weight [cols, depth] with its scales.
pub fn weight_bytes(format: WeightFormat, cols: usize, depth: usize) -> u64 {
    4 * (cols * format.row_words(depth) + format.scale_words(cols, depth)) as u64
}
