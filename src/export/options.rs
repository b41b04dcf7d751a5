//! What an export is asked for.

use std::str::FromStr;

use half::{bf16, f16};

use crate::bail;
use crate::error::{Error, Result};

/// The largest file of weights: transformers 5 starts another one at "50GB".
pub const MAX_SHARD_BYTES: u64 = 50_000_000_000;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The merged model as the folder that transformers reads.
    Safetensors,
    /// The merged model as one file for llama.cpp and Ollama.
    Gguf,
    /// The adapter alone, for llama.cpp's `--lora`.
    LoraGguf,
}

impl Format {
    const ALL: [Format; 3] = [Format::Safetensors, Format::Gguf, Format::LoraGguf];

    /// The name in options.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors",
            Format::Gguf => "gguf",
            Format::LoraGguf => "lora-gguf",
        }
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some(format) = Format::ALL.into_iter().find(|format| format.name() == text) else {
            bail!(BadOption, "format is {text:?}, not one of safetensors, gguf, lora-gguf");
        };
        Ok(format)
    }
}

/// What the values of a matrix are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportDtype {
    F32,
    F16,
    BF16,
    /// GGUF's blocks of 32 values of 8 bits with a scale.
    Q8_0,
}

impl ExportDtype {
    const ALL: [ExportDtype; 4] = [ExportDtype::F32, ExportDtype::F16, ExportDtype::BF16, ExportDtype::Q8_0];

    /// The name in options.
    pub const fn name(self) -> &'static str {
        match self {
            ExportDtype::F32 => "f32",
            ExportDtype::F16 => "f16",
            ExportDtype::BF16 => "bf16",
            ExportDtype::Q8_0 => "q8_0",
        }
    }

    /// The value as the dtype has it; Q8_0 rounds whole blocks, so single values stay.
    pub(super) fn rounded(self, value: f32) -> f32 {
        match self {
            ExportDtype::F16 => f16::from_f32(value).to_f32(),
            ExportDtype::BF16 => bf16::from_f32(value).to_f32(),
            ExportDtype::F32 | ExportDtype::Q8_0 => value,
        }
    }
}

impl FromStr for ExportDtype {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some(dtype) = ExportDtype::ALL.into_iter().find(|dtype| dtype.name() == text) else {
            bail!(BadOption, "dtype is {text:?}, not one of f32, f16, bf16, q8_0");
        };
        Ok(dtype)
    }
}

/// What an export is asked for.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    pub format: Format,
    /// The original's where it is `None`.
    pub dtype: Option<ExportDtype>,
    /// Where a further file of weights is begun.
    pub max_shard_bytes: u64,
    /// The name of a GGUF.
    pub file: String,
    /// What Ollama finds the base of an adapter by.
    pub base: Option<String>,
}

impl ExportOptions {
    /// # Errors
    ///
    /// Code `bad-option` for a dtype that the format has not.
    pub fn new(format: Format, dtype: Option<ExportDtype>) -> Result<Self> {
        match (format, dtype) {
            (Format::Safetensors, Some(ExportDtype::Q8_0)) => {
                bail!(BadOption, "safetensors has no q8_0: take f32, f16 or bf16, or format gguf")
            }
            (Format::LoraGguf, Some(ExportDtype::Q8_0)) => {
                bail!(BadOption, "an adapter is too small to gain by q8_0: take f32, f16 or bf16")
            }
            _ => {
                let file = if format == Format::LoraGguf { "adapter.gguf" } else { "model.gguf" }.to_owned();
                Ok(ExportOptions { format, dtype, max_shard_bytes: MAX_SHARD_BYTES, file, base: None })
            }
        }
    }
}
