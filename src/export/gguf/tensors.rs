//! The tensors of a model as a GGUF has them: other names, another order of some rows, norms and biases in f32.

use half::f16;

use super::header::TensorEntry;
use super::kind;
use crate::bail;
use crate::error::Result;
use crate::export::merge::Merged;
use crate::export::options::ExportDtype;
use crate::export::original::row_pieces;
use crate::export::sink::Writer;
use crate::format::TensorInfo;
use crate::format::gguf::{GgmlType, Names, hf_row};
use crate::model::{Architecture, HEAD, RopeScaling};

/// A tensor that will be written.
pub(super) struct Planned<'a> {
    name: String,
    shape: Vec<usize>,
    kind: GgmlType,
    values: Values<'a>,
}

/// Where the values come from.
enum Values<'a> {
    Computed(Vec<f32>),
    Of {
        tensor: &'a TensorInfo,
        /// The head's rows that change their places among themselves, 1 where none do.
        head_dim: usize,
        /// Added to each value.
        plus: f32,
        /// Multiplies it then.
        times: f32,
    },
}

/// The tensors in the order of a forward pass.
pub(super) fn plan<'a>(
    merged: &'a Merged<'_>,
    names: &Names,
    dtype: ExportDtype,
) -> Result<Vec<Planned<'a>>> {
    let architecture = &merged.original.architecture;
    let mut planned = rope_tensors(architecture);
    let mut tensors = architecture.checkpoint_tensors();
    if let Some(head) = &merged.untied {
        tensors.push((HEAD.to_owned(), head.shape.clone()));
    }
    for (name, shape) in tensors {
        let Some(gguf_name) = names.to_gguf(&name) else {
            bail!(UnsupportedModel, "{name} has no name in a GGUF of architecture {}", names.architecture);
        };
        if name.ends_with(".bias") && !takes_bias(names, &gguf_name) {
            bail!(
                UnsupportedModel,
                "{name}: llama.cpp takes no such bias in architecture {}; take format safetensors",
                names.architecture
            );
        }
        let kind = if shape.len() < 2 { GgmlType::F32 } else { kind(dtype, shape[shape.len() - 1]) };
        let values = Values::Of {
            tensor: merged.tensor(&name),
            head_dim: names.permuted(&name).map_or(1, |_| architecture.layers[0].attention.head_dim),
            plus: if names.is_plus_one(&name) { 1.0 } else { 0.0 },
            times: if name.ends_with(".q_norm.weight") { query_scale(architecture, names) } else { 1.0 },
        };
        planned.push(Planned { name: gguf_name, shape, kind, values });
    }
    Ok(planned)
}

/// Whether llama.cpp loads a bias, and adds it.
fn takes_bias(names: &Names, name: &str) -> bool {
    let is_of_queries = [".attn_q.", ".attn_k.", ".attn_v."].iter().any(|module| name.contains(module));
    match names.architecture {
        "llama" | "granite" => true,
        "qwen2" | "qwen3" | "smollm3" => is_of_queries,
        _ => false,
    }
}

/// llama.cpp knows no `query_pre_attn_scalar` for Gemma 3 and goes by the model's size, so what differs is put into the
/// norm of the queries.
fn query_scale(architecture: &Architecture, names: &Names) -> f32 {
    const LAYERS_OF_27B: usize = 62;
    if names.architecture != "gemma3" {
        return 1.0;
    }
    let attention = &architecture.layers[0].attention;
    let known = match architecture.layers.len() {
        LAYERS_OF_27B => architecture.hidden.real / attention.q_heads,
        _ => attention.head_dim,
    };
    let scale = f64::from(attention.scale) * (known as f64).sqrt();
    // Two square roots do not give 1 to the last bit.
    if (scale - 1.0).abs() < 1e-6 { 1.0 } else { scale as f32 }
}

/// The divisors of the frequencies of RoPE, where a GGUF has them as tensors.
fn rope_tensors(architecture: &Architecture) -> Vec<Planned<'static>> {
    let Some(rope) = architecture.ropes.first() else { return Vec::new() };
    let tensor = |name: &str, values: &[f32]| Planned {
        name: name.to_owned(),
        shape: vec![values.len()],
        kind: GgmlType::F32,
        values: Values::Computed(values.to_vec()),
    };
    match &rope.scaling {
        RopeScaling::LongRope { short_factor, long_factor, .. } => vec![
            tensor("rope_factors_long.weight", long_factor),
            tensor("rope_factors_short.weight", short_factor),
        ],
        &RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => {
            let [factor, low, high] = [factor, low_freq_factor, high_freq_factor].map(f64::from);
            let original = original_max_position_embeddings as f64;
            let divisor = |index: usize| {
                let exponent = (2 * index) as f64 / rope.dim as f64;
                let wavelength = std::f64::consts::TAU * f64::from(rope.theta).powf(exponent);
                let smooth = ((original / wavelength - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 / ((1.0 - smooth) / factor + smooth)) as f32
            };
            let divisors: Vec<f32> = (0..rope.rotary_dim / 2).map(divisor).collect();
            vec![tensor("rope_freqs.weight", &divisors)]
        }
        _ => Vec::new(),
    }
}

impl Planned<'_> {
    pub fn entry(&self) -> TensorEntry<'_> {
        TensorEntry { name: &self.name, shape: &self.shape, kind: self.kind }
    }

    pub async fn write(
        &self,
        merged: &Merged<'_>,
        dtype: ExportDtype,
        writer: &mut Writer<'_>,
    ) -> Result<()> {
        let (tensor, head_dim, plus, times) = match &self.values {
            Values::Computed(values) => {
                let mut bytes = Vec::new();
                encode(self.kind, values, &mut bytes);
                return writer.write(&bytes).await;
            }
            &Values::Of { tensor, head_dim, plus, times } => (tensor, head_dim, plus, times),
        };
        // What is no matrix stays in f32 whatever is asked for.
        let dtype = if self.kind == GgmlType::F32 { ExportDtype::F32 } else { dtype };
        let rows = merged.rows(tensor);
        let (mut values, mut bytes) = (Vec::new(), Vec::new());
        for piece in row_pieces(tensor, head_dim) {
            rows.read(piece, dtype, &mut values).await?;
            if head_dim > 1 {
                values = permuted(&values, head_dim, tensor.row_elements());
            }
            values.iter_mut().for_each(|value| *value = (*value + plus) * times);
            bytes.clear();
            if !encode(self.kind, &values, &mut bytes) {
                bail!(
                    NotFinite,
                    "{}: values are beyond what {} can hold; take bf16 or f32",
                    tensor.name,
                    self.kind
                );
            }
            writer.write(&bytes).await?;
        }
        Ok(())
    }
}

/// Rows of whole heads in the order of a GGUF.
pub(super) fn permuted(values: &[f32], head_dim: usize, row: usize) -> Vec<f32> {
    let rows = 0..values.len() / row;
    rows.flat_map(|index| &values[hf_row(index, head_dim) * row..][..row]).copied().collect()
}

/// Appends whole rows as `kind` has them; false where a value is beyond it.
pub(super) fn encode(kind: GgmlType, values: &[f32], out: &mut Vec<u8>) -> bool {
    let mut is_finite = true;
    match kind {
        GgmlType::BF16 => {
            out.extend(values.iter().flat_map(|&value| half::bf16::from_f32(value).to_le_bytes()))
        }
        GgmlType::F16 => {
            let halves = values.iter().map(|&value| f16::from_f32(value));
            out.extend(halves.inspect(|half| is_finite &= half.is_finite()).flat_map(f16::to_le_bytes));
        }
        GgmlType::Q8_0 => {
            for block in values.as_chunks::<{ GgmlType::Q8_0.block_values() }>().0 {
                is_finite &= encode_q8_0(block, out);
            }
        }
        _ => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
    }
    is_finite
}

/// `quantize_row_q8_0_ref` of ggml.
fn encode_q8_0(block: &[f32], out: &mut Vec<u8>) -> bool {
    let largest = block.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let stored = f16::from_f32(scale);
    out.extend(stored.to_le_bytes());
    // `round` takes halves away from zero.
    out.extend(block.iter().map(|value| (value * inverse).round() as i8 as u8));
    stored.is_finite()
}
