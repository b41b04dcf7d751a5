//! Divisors of the rotary frequencies, which llama.cpp keeps as tensors, and the parameters that they were made from.

use serde_json::{Value, json};

use super::GgufTensor;
use super::kinds::GgmlType;
use crate::bail;
use crate::error::Result;
use crate::files::Files;

/// More than any head has.
const MOST_FACTORS: usize = 1024;

/// The tensors that are there.
#[derive(Clone, Debug, Default)]
pub(super) struct RopeFactors {
    /// `rope_freqs.weight`, for texts of any length.
    pub(super) all: Option<Vec<f32>>,
    /// `rope_factors_short.weight` and `rope_factors_long.weight`.
    pub(super) short: Option<Vec<f32>>,
    pub(super) long: Option<Vec<f32>>,
}

/// Whether the values of a tensor take part in `config.json` instead of being a weight.
pub(super) fn is_rope_tensor(name: &str) -> bool {
    matches!(name, "rope_freqs.weight" | "rope_factors_short.weight" | "rope_factors_long.weight")
}

impl RopeFactors {
    pub(super) async fn read(files: &dyn Files, tensors: &[GgufTensor]) -> Result<Self> {
        let mut found = RopeFactors::default();
        for tensor in tensors.iter().filter(|tensor| is_rope_tensor(&tensor.name)) {
            if tensor.kind != GgmlType::F32 || tensor.shape.len() != 1 || tensor.shape[0] > MOST_FACTORS {
                return Err(tensor.bad(format_args!(
                    "it is {} {:?}, not F32 of one dimension up to {MOST_FACTORS}",
                    tensor.kind, tensor.shape
                )));
            }
            let bytes = files.read(&tensor.file, tensor.start, tensor.len as usize).await?;
            let values: Vec<f32> = bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
            if values.len() != tensor.shape[0] {
                bail!(Io, "{}: {} bytes came where {} were asked for", tensor.file, bytes.len(), tensor.len);
            }
            if !values.iter().all(|value| value.is_finite() && *value > 0.0) {
                return Err(tensor.bad("not all of its values are positive numbers"));
            }
            let place = match tensor.name.as_str() {
                "rope_freqs.weight" => &mut found.all,
                "rope_factors_short.weight" => &mut found.short,
                _ => &mut found.long,
            };
            *place = Some(values);
        }
        Ok(found)
    }
}

/// What was computed from `rope_type` `llama3`.
struct Llama3 {
    factor: f32,
    low_freq_factor: f32,
    high_freq_factor: f32,
    original: f32,
}

impl Llama3 {
    /// The divisor of the frequency of a wavelength.
    fn divisor(&self, wavelength: f32) -> f32 {
        if wavelength < self.original / self.high_freq_factor {
            1.0
        } else if wavelength > self.original / self.low_freq_factor {
            self.factor
        } else {
            let smooth = (self.original / wavelength - self.low_freq_factor)
                / (self.high_freq_factor - self.low_freq_factor);
            1.0 / ((1.0 - smooth) / self.factor + smooth)
        }
    }
}

/// The `rope_scaling` whose divisors these are: `llama3` with the parameters that models have, the usual ones first, or
/// else `longrope`, which takes the divisors themselves.
pub(super) fn scaling_of(factors: &[f32], theta: f32, context: u64) -> Value {
    let wavelength = |i: usize| {
        let exponent = (2 * i) as f64 / (2 * factors.len()) as f64;
        (std::f64::consts::TAU * f64::from(theta).powf(exponent)) as f32
    };
    let wavelengths: Vec<f32> = (0..factors.len()).map(wavelength).collect();
    let largest = factors.iter().copied().fold(1.0, f32::max);
    let originals = std::iter::once(8192.0).chain((4..=20).map(|power| (1_u32 << power) as f32));
    for original in originals {
        for (low_freq_factor, high_freq_factor) in
            [(1.0, 4.0), (1.0, 2.0), (1.0, 8.0), (1.0, 32.0), (2.0, 4.0)]
        {
            let llama3 = Llama3 { factor: largest, low_freq_factor, high_freq_factor, original };
            let fits = |(factor, wavelength): (&f32, &f32)| {
                (llama3.divisor(*wavelength) - factor).abs() <= 1e-5 * factor
            };
            if factors.iter().zip(&wavelengths).all(fits) {
                return json!({
                    "rope_type": "llama3",
                    "factor": largest,
                    "low_freq_factor": low_freq_factor,
                    "high_freq_factor": high_freq_factor,
                    "original_max_position_embeddings": original as u64,
                });
            }
        }
    }
    json!({
        "rope_type": "longrope",
        "short_factor": factors,
        "long_factor": factors,
        "original_max_position_embeddings": context,
        "attention_factor": 1.0,
    })
}
