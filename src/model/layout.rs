//! How the decoder's matrices and activations are laid out on the GPU.

use super::config::{Linear, ModelConfig};

/// Linear layers that share their input and are stacked into one product, as indices into
/// [`ModelConfig::linears`]: q, k, v; o; gate, up; down.
pub const GROUPS: [&[usize]; 4] = [&[0, 1, 2], &[3], &[4, 5], &[6]];

/// Every width of the decoder rounded up to a multiple of 8, so that kernels read whole vectors.
/// The lanes past a true width are zero in weights and activations alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub hidden: usize,
    pub queries: usize,
    /// Of the keys, and of the values.
    pub keys: usize,
    pub ffn: usize,
    pub vocab: usize,
}

/// `value` rounded up to a multiple of 8.
pub const fn pad8(value: usize) -> usize {
    value.next_multiple_of(8)
}

impl Sizes {
    pub fn new(config: &ModelConfig) -> Self {
        Sizes {
            hidden: pad8(config.hidden_size),
            queries: pad8(config.num_attention_heads * config.head_dim),
            keys: pad8(config.num_key_value_heads * config.head_dim),
            ffn: pad8(config.intermediate_size),
            vocab: pad8(config.vocab_size),
        }
    }

    /// The row of an activation that holds queries, keys and values side by side.
    pub const fn qkv(&self) -> usize {
        self.queries + 2 * self.keys
    }

    /// Padded input and output width of each linear layer, in the order of [`ModelConfig::linears`].
    pub fn linears(&self) -> [(usize, usize); 7] {
        let Sizes { hidden, queries, keys, ffn, .. } = *self;
        [
            (hidden, queries),
            (hidden, keys),
            (hidden, keys),
            (queries, hidden),
            (hidden, ffn),
            (hidden, ffn),
            (ffn, hidden),
        ]
    }
}

/// Values of all the decoder's linear layers, without padding.
pub fn linear_parameters(config: &ModelConfig) -> u64 {
    let in_layer = |linear: Linear| linear.in_features as u64 * linear.out_features as u64;
    config.num_hidden_layers as u64 * config.linears().into_iter().map(in_layer).sum::<u64>()
}

/// Values of the tensors of these shapes. A browser's `usize` would be too small to count them.
pub fn values(shapes: &[(String, Vec<usize>)]) -> u64 {
    shapes.iter().map(|(_, shape)| shape.iter().map(|&size| size as u64).product::<u64>()).sum()
}
