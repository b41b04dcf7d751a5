//! Rotary position embedding (Su et al. 2021): the angles of each position, as transformers'
//! `modeling_rope_utils.py` computes them in f32.

use std::ops::Range;

use serde_json::{Map, Value};

use super::fields::{FILE, Fields};
use crate::bail;
use crate::error::Result;

/// The angles that some layers turn queries and keys by.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    pub theta: f32,
    pub scaling: RopeScaling,
    /// Values of a head that take part, from its first on; even.
    pub rotary_dim: usize,
    /// The width that the exponents of the frequencies go by: `rotary_dim`, or one less.
    pub dim: usize,
}

/// How the rotary frequencies are stretched for long contexts; transformers' `rope_type`.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    Default,
    Linear {
        factor: f32,
    },
    Llama3 {
        factor: f32,
        low_freq_factor: f32,
        high_freq_factor: f32,
        original_max_position_embeddings: usize,
    },
    /// Frequencies grow slower for rows longer than the context (NTK-aware).
    Dynamic {
        factor: f32,
        max_position_embeddings: usize,
    },
    /// Peng et al. 2023, section 3.4.
    Yarn {
        factor: f32,
        beta_fast: f32,
        beta_slow: f32,
        truncate: bool,
        original_max_position_embeddings: usize,
        attention_factor: f32,
    },
    /// Ding et al. 2024: a divisor for each frequency, others for rows longer than the original context.
    LongRope {
        short_factor: Vec<f32>,
        long_factor: Vec<f32>,
        original_max_position_embeddings: usize,
        attention_factor: f32,
    },
}

/// What a family's RoPE is where `config.json` says nothing, and what it may be.
pub(super) struct RopeDefaults<'a> {
    pub(super) theta: f32,
    pub(super) head_dim: usize,
    /// `max_position_embeddings`.
    pub(super) context: usize,
    /// `original_max_position_embeddings` where the family does not look for it among the parameters.
    pub(super) original: Option<usize>,
    /// The `rope_type`s that the family's class takes, and which kind each is; one that is missing is refused.
    pub(super) kinds: &'a [(&'a str, &'a str)],
    /// Whether `partial_rotary_factor` has an effect.
    pub(super) is_partial: bool,
}

/// Of all families but Phi. A GGUF's own divisors of the frequencies come as `longrope`.
pub(super) const KINDS: [(&str, &str); 6] = [
    ("default", "default"),
    ("linear", "linear"),
    ("dynamic", "dynamic"),
    ("llama3", "llama3"),
    ("yarn", "yarn"),
    ("longrope", "longrope"),
];

impl Rope {
    /// Reads `rope_theta` and the scaling from `rope_parameters` (transformers 5) or from `rope_theta` and
    /// `rope_scaling` (before).
    pub(super) fn read(fields: &Fields, defaults: &RopeDefaults) -> Result<Self> {
        let empty = Map::new();
        // An empty object counts as none, as in transformers.
        let parameters = match fields.object("rope_scaling")? {
            Some(object) if !object.is_empty() => Fields { fields: object, prefix: "rope_scaling." },
            _ => Fields {
                fields: fields.object("rope_parameters")?.unwrap_or(&empty),
                prefix: "rope_parameters.",
            },
        };
        Rope::from_parameters(fields, &parameters, defaults)
    }

    /// The same from an object of parameters, with `fields` beside it.
    pub(super) fn from_parameters(
        fields: &Fields,
        parameters: &Fields,
        defaults: &RopeDefaults,
    ) -> Result<Self> {
        let theta = match parameters.positive_float("rope_theta")? {
            Some(theta) => theta,
            None => fields.positive_float("rope_theta")?.unwrap_or(defaults.theta),
        };
        let partial = match parameters.positive_number("partial_rotary_factor")? {
            Some(partial) => Some((parameters.prefix, partial)),
            None => fields.positive_number("partial_rotary_factor")?.map(|partial| (fields.prefix, partial)),
        };
        let mut dim = defaults.head_dim;
        if let Some((prefix, partial)) = partial
            && partial != 1.0
        {
            dim = (defaults.head_dim as f64 * partial) as usize;
            if !defaults.is_partial || dim == 0 || dim > defaults.head_dim {
                bail!(UnsupportedModel, "{FILE}: {prefix}partial_rotary_factor {partial} is not supported");
            }
        }
        // An odd width has a frequency more than half of it, and each turns a pair.
        let rotary_dim = dim.next_multiple_of(2);
        let scaling = scaling(fields, parameters, defaults, rotary_dim)?;
        Ok(Rope { theta, scaling, rotary_dim, dim })
    }

    /// The rotary frequencies in radians per position, `[rotary_dim / 2]`, where the longest row has
    /// `longest` tokens.
    pub fn inv_freq(&self, longest: usize) -> Vec<f32> {
        let half = self.rotary_dim / 2;
        let theta = match self.scaling {
            RopeScaling::Dynamic { factor, max_position_embeddings } if longest > max_position_embeddings => {
                let (context, dim) = (max_position_embeddings as f64, self.dim as f64);
                let stretched = f64::from(factor) * longest as f64 / context - (f64::from(factor) - 1.0);
                f64::from(self.theta) * stretched.powf(dim / (dim - 2.0))
            }
            _ => f64::from(self.theta),
        };
        let inverse = |i: usize| {
            let exponent = (2 * i) as f32 / self.dim as f32;
            // The power is taken in f64 and rounded, which doesn't depend on the platform's powf.
            1.0 / theta.powf(f64::from(exponent)) as f32
        };
        let (yarn, is_long) = (self.yarn_range(), self.is_stretched(longest));
        (0..half).map(|i| self.scaling.apply(i, inverse(i), is_long, yarn)).collect()
    }

    /// The frequencies between which YaRN goes over from those of the rows it was trained on to stretched ones.
    fn yarn_range(&self) -> [f64; 2] {
        let RopeScaling::Yarn { beta_fast, beta_slow, truncate, original_max_position_embeddings, .. } =
            self.scaling
        else {
            return [0.0, 0.0];
        };
        let (dim, context) = (self.dim as f64, original_max_position_embeddings as f64);
        let turns_at = |turns: f32| {
            dim * (context / (f64::from(turns) * std::f64::consts::TAU)).ln()
                / (2.0 * f64::from(self.theta).ln())
        };
        let (mut low, mut high) = (turns_at(beta_fast), turns_at(beta_slow));
        if truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(dim - 1.0));
        [low, if low == high { high + 0.001 } else { high }]
    }

    /// Multiplies cosines and sines, so that a score has it twice.
    fn attention_factor(&self) -> f32 {
        match self.scaling {
            RopeScaling::Yarn { attention_factor, .. } | RopeScaling::LongRope { attention_factor, .. } => {
                attention_factor
            }
            _ => 1.0,
        }
    }

    /// Whether all of a text of `longest` tokens is turned by other angles than short ones are.
    pub fn is_stretched(&self, longest: usize) -> bool {
        match self.scaling {
            RopeScaling::LongRope { original_max_position_embeddings, .. } => {
                longest > original_max_position_embeddings
            }
            _ => false,
        }
    }

    /// [`Rope::table`] for a text that begins with `prompt` tokens and grows by one at a time. Of `dynamic` each token
    /// has the angles of the length at which it came, as keys have in the cache of transformers.
    pub fn growing_table(&self, positions: usize, prompt: usize) -> (Vec<f32>, Vec<f32>) {
        if !matches!(self.scaling, RopeScaling::Dynamic { .. }) {
            return self.table(positions, prompt);
        }
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for position in 0..positions {
            let row = self.rows(position..position + 1, prompt.max(position + 1));
            cos.extend(row.0);
            sin.extend(row.1);
        }
        (cos, sin)
    }

    /// The positions that a model was made for, where `context` is `max_position_embeddings`.
    pub(super) fn reach(&self, context: usize) -> usize {
        match self.scaling {
            RopeScaling::Dynamic { factor, .. } => (context as f64 * f64::from(factor)) as usize,
            _ => context,
        }
    }

    /// Cosines and sines for positions `0..positions`, each `[positions, rotary_dim / 2]` row-major, where the
    /// longest row has `longest` tokens. The angle is rounded to f32, as in transformers.
    pub fn table(&self, positions: usize, longest: usize) -> (Vec<f32>, Vec<f32>) {
        self.rows(0..positions, longest)
    }

    fn rows(&self, positions: Range<usize>, longest: usize) -> (Vec<f32>, Vec<f32>) {
        let (frequencies, factor) = (self.inv_freq(longest), self.attention_factor());
        positions
            .flat_map(|position| frequencies.iter().map(move |frequency| position as f32 * frequency))
            .map(|angle| {
                let (sin, cos) = f64::from(angle).sin_cos();
                (cos as f32 * factor, sin as f32 * factor)
            })
            .unzip()
    }
}

impl RopeScaling {
    /// Frequency `i`, whose value without scaling is `inv_freq`, of a text that is long or not.
    fn apply(&self, i: usize, inv_freq: f32, is_long: bool, [low, high]: [f64; 2]) -> f32 {
        match *self {
            RopeScaling::Default | RopeScaling::Dynamic { .. } => inv_freq,
            RopeScaling::Linear { factor } => inv_freq / factor,
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                let context = original_max_position_embeddings as f32;
                let wavelength = std::f32::consts::TAU / inv_freq;
                if wavelength < context / high_freq_factor {
                    inv_freq
                } else if wavelength > context / low_freq_factor {
                    inv_freq / factor
                } else {
                    let smooth =
                        (context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    (1.0 - smooth) * inv_freq / factor + smooth * inv_freq
                }
            }
            RopeScaling::Yarn { factor, .. } => {
                let ramp = (((i as f64 - low) / (high - low)) as f32).clamp(0.0, 1.0);
                inv_freq / factor * ramp + inv_freq * (1.0 - ramp)
            }
            RopeScaling::LongRope { ref short_factor, ref long_factor, .. } => {
                inv_freq / if is_long { long_factor[i] } else { short_factor[i] }
            }
        }
    }
}

fn scaling(
    fields: &Fields,
    parameters: &Fields,
    defaults: &RopeDefaults,
    rotary_dim: usize,
) -> Result<RopeScaling> {
    let prefix = parameters.prefix;
    let rope_type = match parameters.string("rope_type")? {
        Some(rope_type) => rope_type,
        None => parameters.string("type")?.unwrap_or_else(|| "default".to_owned()),
    };
    let Some((_, kind)) = defaults.kinds.iter().find(|(name, _)| *name == rope_type) else {
        let kinds: Vec<&str> = defaults.kinds.iter().map(|(name, _)| *name).collect();
        bail!(
            UnsupportedModel,
            "{FILE}: {prefix}rope_type {rope_type:?} is not supported here, which is {}",
            kinds.join(", ")
        );
    };
    let float = |name| parameters.required(name, parameters.positive_float(name)?);
    // A length beside the parameters wins over the one among them, as in transformers.
    let original = || -> Result<usize> {
        if let Some(original) = defaults.original {
            return Ok(original);
        }
        let inside = parameters.positive_number("original_max_position_embeddings")?;
        let inside = inside.map_or(defaults.context, |length| length as usize);
        fields.positive_or("original_max_position_embeddings", inside)
    };
    Ok(match *kind {
        "linear" => RopeScaling::Linear { factor: float("factor")? },
        "dynamic" => {
            RopeScaling::Dynamic { factor: float("factor")?, max_position_embeddings: defaults.context }
        }
        "llama3" => {
            let (low_freq_factor, high_freq_factor) = (float("low_freq_factor")?, float("high_freq_factor")?);
            if low_freq_factor >= high_freq_factor {
                bail!(BadModel, "{FILE}: {prefix}low_freq_factor is not below {prefix}high_freq_factor");
            }
            RopeScaling::Llama3 {
                factor: float("factor")?,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings: original()?,
            }
        }
        "yarn" => {
            let original = original()?;
            let stretch = defaults.context as f32 / original as f32;
            let factor = parameters.positive_float("factor")?.unwrap_or(stretch);
            RopeScaling::Yarn {
                factor,
                beta_fast: parameters.float_or("beta_fast", 32.0)?,
                beta_slow: parameters.float_or("beta_slow", 1.0)?,
                // A null is false to Python.
                truncate: parameters.boolean("truncate")?.unwrap_or(!parameters.has("truncate")),
                original_max_position_embeddings: original,
                attention_factor: yarn_attention(parameters, factor)?,
            }
        }
        "longrope" => {
            let original = original()?;
            let stretch = defaults.context as f32 / original as f32;
            let factor = parameters.positive_float("factor")?.unwrap_or(stretch);
            let grown = if factor <= 1.0 {
                1.0
            } else {
                (1.0 + f64::from(factor).ln() / (original as f64).ln()).sqrt() as f32
            };
            RopeScaling::LongRope {
                short_factor: divisors(parameters, "short_factor", rotary_dim / 2)?,
                long_factor: divisors(parameters, "long_factor", rotary_dim / 2)?,
                original_max_position_embeddings: original,
                attention_factor: parameters.positive_float("attention_factor")?.unwrap_or(grown),
            }
        }
        _ => RopeScaling::Default,
    })
}

/// The factor that YaRN multiplies cosines and sines with.
fn yarn_attention(parameters: &Fields, factor: f32) -> Result<f32> {
    let grown = |scale: f32| match factor <= 1.0 {
        true => 1.0,
        false => 0.1 * f64::from(scale) * f64::from(factor).ln() + 1.0,
    };
    if let Some(given) = parameters.positive_float("attention_factor")? {
        return Ok(given);
    }
    let (of_one, of_all) = (parameters.float_or("mscale", 0.0)?, parameters.float_or("mscale_all_dim", 0.0)?);
    Ok(match of_one != 0.0 && of_all != 0.0 {
        true => (grown(of_one) / grown(of_all)) as f32,
        false => grown(1.0) as f32,
    })
}

/// A list of `count` positive numbers.
fn divisors(parameters: &Fields, name: &str, count: usize) -> Result<Vec<f32>> {
    let prefix = parameters.prefix;
    let list = |value: &Value| {
        let numbers = value.as_array()?.iter().map(|number| number.as_f64().map(|number| number as f32));
        numbers.collect::<Option<Vec<f32>>>().filter(|list| list.iter().all(|number| *number > 0.0))
    };
    let found = parameters.required(name, parameters.typed(name, "a list of positive numbers", list)?)?;
    if found.len() != count {
        bail!(BadModel, "{FILE}: {prefix}{name} has {} numbers, but a head turns {count} pairs", found.len());
    }
    Ok(found)
}
