//! Chooses the next token from its logits.

use std::collections::BTreeSet;

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
    /// Goes on with the last message of a chat instead of answering it.
    pub continue_final_message: bool,
    pub max_new_tokens: usize,
    /// 0 takes the likeliest token each time.
    pub temperature: f64,
    /// Choose among so many of the likeliest tokens, and those as likely as the last of them; 0 among all.
    pub top_k: usize,
    /// Choose among the likeliest tokens that together have this probability.
    pub top_p: f64,
    /// Choose among the tokens that are at least this share as likely as the likeliest.
    pub min_p: f64,
    /// Divides the logits of tokens that are there already, in the prompt too; those below 0 are multiplied.
    pub repetition_penalty: f32,
    pub seed: u64,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        SamplingOptions {
            adapter: None,
            continue_final_message: false,
            max_new_tokens: 128,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
        }
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
        if !(0.0..=1.0).contains(&options.min_p) {
            bail!(BadOption, "generate.min_p is {}, but must be from 0 to 1", options.min_p);
        }
        let penalty = options.repetition_penalty;
        if !(penalty.is_finite() && penalty > 0.0) {
            bail!(BadOption, "generate.repetition_penalty is {penalty}, but must be above 0, and 1 is none");
        }
        Ok(options)
    }

    fn read(value: &Value) -> Result<Self> {
        let default = Self::default();
        let mut part = Part::new("generate", value)?;
        let options = SamplingOptions {
            adapter: part.take("adapter", default.adapter)?,
            continue_final_message: part.take("continue_final_message", default.continue_final_message)?,
            max_new_tokens: part.take("max_new_tokens", default.max_new_tokens)?,
            temperature: part.take("temperature", default.temperature)?,
            top_k: part.take("top_k", default.top_k)?,
            top_p: part.take("top_p", default.top_p)?,
            min_p: part.take("min_p", default.min_p)?,
            repetition_penalty: part.take("repetition_penalty", default.repetition_penalty)?,
            seed: part.take("seed", default.seed)?,
        };
        part.finish()?;
        Ok(options)
    }

    /// The tokens to draw from, the likeliest first, each with its weight: 1 for the likeliest. The temperature must
    /// not be 0.
    ///
    /// What leaves out tokens does so in transformers' order, each among those that the one before has left.
    fn candidates(&self, logits: &[f32]) -> Vec<(u32, f64)> {
        let peak = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut tokens: Vec<(u32, f64)> = logits
            .iter()
            .enumerate()
            .map(|(id, &logit)| (id as u32, (f64::from(logit - peak) / self.temperature).exp()))
            .collect();
        // Equal weights keep the order of their ids.
        tokens.sort_by(|a, b| b.1.total_cmp(&a.1));
        let at_least = |tokens: &[(u32, f64)], least: f64| tokens.partition_point(|token| token.1 >= least);
        if let Some(&(_, least)) = self.top_k.checked_sub(1).and_then(|last| tokens.get(last)) {
            tokens.truncate(at_least(&tokens, least));
        }
        let wanted = self.top_p * total(&tokens);
        let mut likelier = 0.0;
        let kept = tokens.iter().take_while(|(_, weight)| {
            let is_wanted = likelier < wanted;
            likelier += weight;
            is_wanted
        });
        let kept = kept.count().max(1);
        tokens.truncate(kept);
        let kept = at_least(&tokens, self.min_p).max(1);
        tokens.truncate(kept);
        tokens
    }
}

/// Draws tokens; the same seed gives the same tokens.
pub struct Sampler {
    options: SamplingOptions,
    random: ChaCha8Rng,
    /// The tokens that are there already.
    seen: BTreeSet<u32>,
}

impl Sampler {
    /// For what follows `prompt`.
    pub fn new(options: SamplingOptions, prompt: &[u32]) -> Self {
        let random = ChaCha8Rng::seed_from_u64(options.seed);
        Sampler { options, random, seen: prompt.iter().copied().collect() }
    }

    /// The next token for `logits` [V].
    pub fn next(&mut self, mut logits: Vec<f32>) -> u32 {
        if self.options.repetition_penalty != 1.0 {
            self.penalise(&mut logits);
        }
        let next = match self.options.temperature {
            0.0 => likeliest(&logits),
            _ => self.draw(&logits),
        };
        self.seen.insert(next);
        next
    }

    fn penalise(&self, logits: &mut [f32]) {
        let penalty = self.options.repetition_penalty;
        for &id in &self.seen {
            // A tokenizer may know tokens that the model has no logit for.
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
            }
        }
    }

    fn draw(&mut self, logits: &[f32]) -> u32 {
        let tokens = self.options.candidates(logits);
        let share = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut point = share * total(&tokens);
        for &(id, weight) in &tokens {
            if point < weight {
                return id;
            }
            point -= weight;
        }
        tokens[tokens.len() - 1].0
    }
}

fn total(tokens: &[(u32, f64)]) -> f64 {
    tokens.iter().fold(0.0, |sum, (_, weight)| sum + weight)
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
        Sampler::new(SamplingOptions { temperature, top_p, ..Default::default() }, &[])
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        assert_eq!(sampler(0.0, 1.0).next(vec![0.0, 3.0, 3.0, -1.0]), 1);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let mut sampler = sampler(1.0, 1.0);
        let logits = vec![0.0, (3.0f32).ln()];
        let ones = (0..4000).filter(|_| sampler.next(logits.clone()) == 1).count();
        assert!((2850..3150).contains(&ones), "{ones} of 4000, expected about 3000");
    }

    #[test]
    fn top_p_leaves_out_the_tail() {
        let mut sampler = sampler(1.0, 0.7);
        let logits = vec![0.0, (3.0f32).ln(), -2.0];
        assert!((0..500).all(|_| sampler.next(logits.clone()) == 1));
    }

    /// The same shares as those of transformers' processors, in its order. See tools/reference/sampling.py.
    #[test]
    fn tokens_are_as_likely_as_transformers_has_them() {
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../../tests/fixtures/sampling.json")).unwrap();
        for case in &cases {
            let options = SamplingOptions::from_json(&case["options"]).unwrap();
            let seen: Vec<u32> = serde_json::from_value(case["seen"].clone()).unwrap();
            let mut logits: Vec<f32> = serde_json::from_value(case["logits"].clone()).unwrap();
            let expected: Vec<f64> = serde_json::from_value(case["shares"].clone()).unwrap();
            let sampler = Sampler::new(options, &seen);
            sampler.penalise(&mut logits);
            let candidates = sampler.options.candidates(&logits);
            let mut shares = vec![0.0; expected.len()];
            for (id, weight) in &candidates {
                shares[*id as usize] = weight / total(&candidates);
            }
            for (id, (ours, theirs)) in shares.iter().zip(&expected).enumerate() {
                assert_eq!(*ours == 0.0, *theirs == 0.0, "token {id} of {}", case["options"]);
                assert!(
                    (ours - theirs).abs() <= 1e-5 * theirs,
                    "token {id} of {}: {ours} {theirs}",
                    case["options"]
                );
            }
        }
    }

    #[test]
    fn what_was_said_is_said_again_less_likely() {
        let options = SamplingOptions { repetition_penalty: 1.5, ..Default::default() };
        let mut sampler = Sampler::new(options, &[0, 9]);
        let logits = vec![3.0, 2.5, 2.2, -1.0];
        let said: Vec<u32> = (0..3).map(|_| sampler.next(logits.clone())).collect();
        assert_eq!(said, [1, 2, 0]);
    }

    #[test]
    fn wrong_options_are_named() {
        for (json, name) in [
            (serde_json::json!({"temprature": 1}), "temprature"),
            (serde_json::json!({"top_p": 0.0}), "top_p"),
            (serde_json::json!({"top_k": -1}), "top_k"),
            (serde_json::json!({"min_p": 1.5}), "min_p"),
            (serde_json::json!({"repetition_penalty": 0}), "repetition_penalty"),
            (serde_json::json!({"repetition_penalty": 1e300}), "repetition_penalty"),
            (serde_json::json!({"continue_final_message": "content"}), "continue_final_message"),
            (serde_json::json!({"max_new_tokens": 0}), "max_new_tokens"),
        ] {
            let error = SamplingOptions::from_json(&json).expect_err("the option is wrong");
            assert_eq!(error.code, Code::BadOption);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
