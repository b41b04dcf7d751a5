//! Rotary position embedding (Su et al. 2021): the angles of each position, as transformers'
//! `modeling_rope_utils.py` computes them in f32.

use serde_json::Map;

use super::fields::{FILE, Fields};
use crate::bail;
use crate::error::Result;

/// The angles that some layers turn queries and keys by.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    pub theta: f32,
    pub scaling: RopeScaling,
    /// Values of a head that take part, from its first on.
    pub rotary_dim: usize,
}

/// How the rotary frequencies are stretched for long contexts; transformers' `rope_type`.
#[derive(Clone, Copy, Debug, PartialEq)]
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
}

impl Rope {
    /// Reads `rope_theta` and the scaling from `rope_parameters` (transformers 5) or from `rope_theta` and
    /// `rope_scaling` (before).
    pub(super) fn read(fields: &Fields, context: usize, head_dim: usize) -> Result<Self> {
        let empty = Map::new();
        // An empty object counts as none, as in transformers.
        let parameters = match fields.object("rope_scaling")? {
            Some(object) if !object.is_empty() => Fields { fields: object, prefix: "rope_scaling." },
            _ => Fields {
                fields: fields.object("rope_parameters")?.unwrap_or(&empty),
                prefix: "rope_parameters.",
            },
        };
        let theta = match parameters.positive_float("rope_theta")? {
            Some(theta) => theta,
            None => fields.positive_float("rope_theta")?.unwrap_or(10_000.0),
        };
        for fields in [fields, &parameters] {
            if let Some(partial) = fields.positive_float("partial_rotary_factor")?
                && partial != 1.0
            {
                let prefix = fields.prefix;
                bail!(UnsupportedModel, "{FILE}: {prefix}partial_rotary_factor {partial} is not supported");
            }
        }
        let rope_type = match parameters.string("rope_type")? {
            Some(rope_type) => rope_type,
            None => parameters.string("type")?.unwrap_or_else(|| "default".to_owned()),
        };
        let float = |name| parameters.required(name, parameters.positive_float(name)?);
        let scaling = match rope_type.as_str() {
            "default" => RopeScaling::Default,
            "linear" => RopeScaling::Linear { factor: float("factor")? },
            "llama3" => RopeScaling::Llama3 {
                factor: float("factor")?,
                low_freq_factor: float("low_freq_factor")?,
                high_freq_factor: float("high_freq_factor")?,
                original_max_position_embeddings: parameters
                    .positive_or("original_max_position_embeddings", context)?,
            },
            other => {
                let prefix = parameters.prefix;
                bail!(
                    UnsupportedModel,
                    "{FILE}: {prefix}rope_type {other:?} is not default, linear or llama3"
                )
            }
        };
        if let RopeScaling::Llama3 { low_freq_factor, high_freq_factor, .. } = scaling
            && low_freq_factor >= high_freq_factor
        {
            let prefix = parameters.prefix;
            bail!(BadModel, "{FILE}: {prefix}low_freq_factor is not below {prefix}high_freq_factor");
        }
        Ok(Rope { theta, scaling, rotary_dim: head_dim })
    }

    /// The rotary frequencies in radians per position, `[rotary_dim / 2]`.
    pub fn inv_freq(&self) -> Vec<f32> {
        let inverse = |i: usize| {
            let exponent = (2 * i) as f32 / self.rotary_dim as f32;
            // The power is taken in f64 and rounded, which doesn't depend on the platform's powf.
            1.0 / f64::from(self.theta).powf(f64::from(exponent)) as f32
        };
        (0..self.rotary_dim / 2).map(|i| self.scaling.apply(inverse(i))).collect()
    }

    /// Cosines and sines for positions `0..positions`, each `[positions, rotary_dim / 2]` row-major. The
    /// angle is rounded to f32, as in transformers.
    pub fn table(&self, positions: usize) -> (Vec<f32>, Vec<f32>) {
        let frequencies = self.inv_freq();
        (0..positions)
            .flat_map(|position| frequencies.iter().map(move |frequency| position as f32 * frequency))
            .map(|angle| {
                let (sin, cos) = f64::from(angle).sin_cos();
                (cos as f32, sin as f32)
            })
            .unzip()
    }
}

impl RopeScaling {
    fn apply(self, inv_freq: f32) -> f32 {
        match self {
            RopeScaling::Default => inv_freq,
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
        }
    }
}
