//! The sizes of the models that are measured.

use serde_json::{Map, Value, json};
use tabtune::error::Result;
use tabtune::model::Architecture;

use crate::step::RANK;

/// The sizes of a Llama decoder, and of the step that is measured on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub name: &'static str,
    pub hidden: usize,
    /// Of the MLP.
    pub intermediate: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocab: usize,
    /// Whether the head is the embedding.
    pub tied: bool,
    /// Rows of a step.
    pub batch: usize,
    /// Tokens of a row of a step.
    pub seq: usize,
}

/// The two shapes of the peers, and those of published models. The biases that Qwen2.5 adds to q, k and
/// v are left out: they cost next to nothing, and the engine has none.
pub const SHAPES: [Shape; 8] = [
    shape("tiny", [256, 768, 4, 4, 2, 64, 2048], [2, 128]),
    shape("small", [576, 1536, 4, 9, 3, 64, 8192], [1, 128]),
    shape("smollm2-135m", [576, 1536, 30, 9, 3, 64, 49_152], [1, 512]),
    shape("smollm2-360m", [960, 2560, 32, 15, 5, 64, 49_152], [1, 512]),
    shape("qwen2.5-0.5b", [896, 4864, 24, 14, 2, 64, 151_936], [1, 512]),
    shape("llama-1b", [2048, 8192, 16, 32, 8, 64, 128_256], [1, 512]),
    shape("llama-3b", [3072, 8192, 28, 24, 8, 128, 128_256], [1, 512]),
    Shape { tied: false, ..shape("llama-2-7b", [4096, 11_008, 32, 32, 32, 128, 32_000], [1, 512]) },
];

const fn shape(name: &'static str, sizes: [usize; 7], step: [usize; 2]) -> Shape {
    let [hidden, intermediate, layers, heads, kv_heads, head_dim, vocab] = sizes;
    let [batch, seq] = step;
    Shape { name, hidden, intermediate, layers, heads, kv_heads, head_dim, vocab, tied: true, batch, seq }
}

impl Shape {
    /// Whether peers run their step on it.
    pub fn is_of_peers(&self) -> bool {
        matches!(self.name, "tiny" | "small")
    }

    /// The text of `config.json`.
    pub fn config_json(&self) -> String {
        json!({
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocab,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10_000.0,
            "tie_word_embeddings": self.tied,
            "max_position_embeddings": 131_072,
        })
        .to_string()
    }

    /// Values of all its weights.
    pub fn parameters(&self) -> Result<usize> {
        let tensors = self.architecture()?.checkpoint_tensors();
        Ok(tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum())
    }

    /// What the engine makes of it.
    pub fn architecture(&self) -> Result<Architecture> {
        Architecture::from_json(self.config_json().as_bytes())
    }
}

/// Every shape with the step that is measured on it, by name, for programs in other languages.
pub fn all_json() -> Value {
    let of = |shape: &Shape| {
        json!({
            "hidden": shape.hidden,
            "intermediate": shape.intermediate,
            "layers": shape.layers,
            "heads": shape.heads,
            "kv_heads": shape.kv_heads,
            "head_dim": shape.head_dim,
            "vocab": shape.vocab,
            "tied": shape.tied,
            "batch": shape.batch,
            "seq": shape.seq,
            "rank": RANK,
        })
    };
    SHAPES.iter().map(|shape| (shape.name.to_owned(), of(shape))).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_takes_every_shape() {
        for shape in SHAPES {
            let architecture = shape.architecture().unwrap();
            assert_eq!(architecture.layers[0].attention.queries().real, shape.heads * shape.head_dim);
        }
    }
}
