//! Chooses the next token from its logits.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_json::Value;

use crate::bail;
use crate::error::Result;
use crate::options::Part;

/// Options of generation, under transformers' names.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingOptions {
    /// Whether the active adapter takes part; `None` means that it does where there is one.
    pub adapter: Option<bool>,
    pub max_new_tokens: usize,
    /// 0 takes the likeliest token each time.
    pub temperature: f64,
    /// Choose among the likeliest tokens that together have this probability.
    pub top_p: f64,
    pub seed: u64,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        SamplingOptions { adapter: None, max_new_tokens: 128, temperature: 0.0, top_p: 1.0, seed: 0 }
    }
}

impl SamplingOptions {
    /// Reads and checks the options; null means all defaults. Errors of code `bad-option` name the option.
    pub fn from_json(value: &Value) -> Result<Self> {
        let options = Self::read(value)?;
        if options.max_new_tokens == 0 {
            bail!(BadOption, "generate.max_new_tokens is 0, but must be at least 1");
        }
        if !(options.temperature.is_finite() && options.temperature >= 0.0) {
            bail!(BadOption, "generate.temperature is {}, but must be at least 0", options.temperature);
        }
        if !(options.top_p > 0.0 && options.top_p <= 1.0) {
            bail!(BadOption, "generate.top_p is {}, but must be above 0 and at most 1", options.top_p);
        }
        Ok(options)
    }

    fn read(value: &Value) -> Result<Self> {
        let default = Self::default();
        let mut part = Part::new("generate", value)?;
        let options = SamplingOptions {
            adapter: part.take("adapter", default.adapter)?,
            max_new_tokens: part.take("max_new_tokens", default.max_new_tokens)?,
            temperature: part.take("temperature", default.temperature)?,
            top_p: part.take("top_p", default.top_p)?,
            seed: part.take("seed", default.seed)?,
        };
        part.finish()?;
        Ok(options)
    }
}

/// Draws tokens; the same seed gives the same tokens.
pub struct Sampler {
    options: SamplingOptions,
    random: ChaCha8Rng,
}

impl Sampler {
    pub fn new(options: SamplingOptions) -> Self {
        let random = ChaCha8Rng::seed_from_u64(options.seed);
        Sampler { options, random }
    }

    /// The next token for `logits` [V].
    pub fn next(&mut self, logits: &[f32]) -> u32 {
        if self.options.temperature == 0.0 {
            return likeliest(logits);
        }
        let peak = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut tokens: Vec<(u32, f64)> = logits
            .iter()
            .enumerate()
            .map(|(id, &logit)| (id as u32, (f64::from(logit - peak) / self.options.temperature).exp()))
            .collect();
        // Equal weights keep the order of their ids.
        tokens.sort_by(|a, b| b.1.total_cmp(&a.1));
        let all: f64 = tokens.iter().map(|(_, weight)| weight).sum();
        let mut kept = 0.0;
        let count = tokens.iter().take_while(|(_, weight)| {
            let open = kept < self.options.top_p * all;
            kept += if open { *weight } else { 0.0 };
            open
        });
        let count = count.count().max(1);
        let mut point = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * kept;
        for &(id, weight) in &tokens[..count] {
            if point < weight {
                return id;
            }
            point -= weight;
        }
        tokens[count - 1].0
    }
}

fn likeliest(logits: &[f32]) -> u32 {
    let better = |best: usize, id: usize| if logits[id] > logits[best] { id } else { best };
    (0..logits.len()).fold(0, better) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn sampler(temperature: f64, top_p: f64) -> Sampler {
        Sampler::new(SamplingOptions { temperature, top_p, ..Default::default() })
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        assert_eq!(sampler(0.0, 1.0).next(&[0.0, 3.0, 3.0, -1.0]), 1);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let mut sampler = sampler(1.0, 1.0);
        let logits = [0.0, (3.0f32).ln()];
        let ones = (0..4000).filter(|_| sampler.next(&logits) == 1).count();
        assert!((2850..3150).contains(&ones), "{ones} of 4000, expected about 3000");
    }

    #[test]
    fn top_p_leaves_out_the_tail() {
        let mut sampler = sampler(1.0, 0.7);
        let logits = [0.0, (3.0f32).ln(), -2.0];
        assert!((0..500).all(|_| sampler.next(&logits) == 1));
    }

    #[test]
    fn wrong_options_are_named() {
        for (json, name) in [
            (serde_json::json!({"temprature": 1}), "temprature"),
            (serde_json::json!({"top_p": 0.0}), "top_p"),
            (serde_json::json!({"max_new_tokens": 0}), "max_new_tokens"),
        ] {
            let error = SamplingOptions::from_json(&json).expect_err("the option is wrong");
            assert_eq!(error.code, Code::BadOption);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
