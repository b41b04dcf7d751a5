//! A model on the GPU: its weights in products that each fit one binding.

use std::ops::Range;

use super::architecture::{Architecture, ByGroup, Module, Width, pad8};
use crate::kernels::head_norm;
use crate::kernels::linear::Weight;
use crate::memory::Tensor;

/// A model whose weights lie in a [`Store`](crate::device::Store).
#[derive(Clone, Debug)]
pub struct Model {
    pub architecture: Architecture,
    pub layers: Vec<LayerWeights>,
    /// The rows of the embedding, in slabs that each fit one binding.
    pub embedding: Vec<Slab>,
    /// The rows of the head: the embedding's own slabs where it is tied.
    pub head: Vec<Slab>,
    pub norm: Tensor,
    /// Of name, dtype, shape and bytes of every tensor, whatever the order of reading; 0 where none was read.
    pub sum: u128,
}

impl Model {
    /// The products of the decoder's linear layers.
    pub fn linear(&self) -> impl Iterator<Item = &Stacked> {
        self.layers.iter().flat_map(LayerWeights::linear)
    }

    /// Every tensor that a stage of a pass reads, whose place may change.
    pub(super) fn each_tensor(&mut self, stage: Stage, f: &mut impl FnMut(&mut Tensor)) {
        match stage {
            Stage::Embedding => self.embedding.iter_mut().for_each(|slab| slab.weight.each_tensor(f)),
            Stage::Layer(layer) => self.layers[layer].each_tensor(f),
            Stage::Head => {
                f(&mut self.norm);
                self.head.iter_mut().for_each(|slab| slab.weight.each_tensor(f));
            }
        }
    }

    /// Those whose weights are quantised.
    pub fn quantized(&self) -> impl Iterator<Item = &Stacked> {
        self.linear().filter(|product| product.weight.format.is_quantized())
    }
}

/// What a pass goes through, one behind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Embedding,
    Layer(usize),
    /// The final norm and the head.
    Head,
}

#[derive(Clone, Debug)]
pub struct LayerWeights {
    pub norms: NormWeights,
    /// Of each head of queries and of keys, [head_dim].
    pub head_norm: Option<head_norm::Weights>,
    /// The stacked products of each group; several where formats forbid stacking.
    pub groups: ByGroup<Vec<Stacked>>,
}

impl LayerWeights {
    /// The products of its linear layers.
    pub fn linear(&self) -> impl Iterator<Item = &Stacked> {
        self.groups.0.iter().flatten()
    }

    fn each_tensor(&mut self, f: &mut impl FnMut(&mut Tensor)) {
        let NormWeights { before_attention, after_attention, before_feed_forward, after_feed_forward } =
            &mut self.norms;
        [before_attention, before_feed_forward].into_iter().for_each(&mut *f);
        [after_attention, after_feed_forward].into_iter().flatten().for_each(&mut *f);
        if let Some(head_norm::Weights { q, k }) = &mut self.head_norm {
            [q, k].into_iter().for_each(&mut *f);
        }
        for product in self.groups.0.iter_mut().flatten() {
            product.weight.each_tensor(f);
            product.biases.iter_mut().for_each(|bias| f(&mut bias.values));
        }
    }
}

/// The weights of a layer's norms.
#[derive(Clone, Copy, Debug)]
pub struct NormWeights {
    pub before_attention: Tensor,
    pub after_attention: Option<Tensor>,
    pub before_feed_forward: Tensor,
    pub after_feed_forward: Option<Tensor>,
}

/// One product over rows of stacked modules: all of them, unless they are too large for one binding.
#[derive(Clone, Debug)]
pub struct Stacked {
    pub modules: Vec<Module>,
    /// Rows of the stack, padding among them. Where they are not all, they are rows of one module.
    pub rows: Range<usize>,
    /// The column of the group at which the product begins.
    pub first_col: usize,
    pub weight: Weight,
    /// One for all columns where any module has a bias; several where some of them are trained by themselves.
    pub biases: Vec<Bias>,
}

/// The biases of consecutive columns of a product.
#[derive(Clone, Copy, Debug)]
pub struct Bias {
    /// The column at which they begin.
    pub at: usize,
    pub cols: usize,
    /// [cols], zero where a module has none.
    pub values: Tensor,
}

impl Stacked {
    /// N of the product.
    pub fn cols(&self) -> usize {
        self.rows.len()
    }

    /// Values of its weight, without padding.
    pub fn values(&self) -> u64 {
        self.parts().map(|part| (part.real_rows().len() * part.module.inputs.real) as u64).sum()
    }

    /// What the product has of its modules, in their order.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        let mut end = 0;
        let parts = self.modules.iter().enumerate().map(move |(section, module)| {
            let begin = end;
            end += module.outputs.padded;
            let first = self.rows.start.max(begin);
            let rows = first.saturating_sub(begin)..self.rows.end.min(end).saturating_sub(begin);
            Part { section, module: *module, rows, at: first.saturating_sub(self.rows.start) }
        });
        parts.filter(|part| !part.rows.is_empty())
    }

    /// K of the product. Stacked modules share their input.
    pub fn inputs(&self) -> Width {
        self.modules[0].inputs
    }
}

/// Rows of a module that a product has.
#[derive(Clone, Debug)]
pub struct Part {
    /// The module's number in its stack.
    pub section: usize,
    pub module: Module,
    /// Of the module, padding among them.
    pub rows: Range<usize>,
    /// The row of the product at which they begin.
    pub at: usize,
}

impl Part {
    /// Its rows without padding.
    pub(super) fn real_rows(&self) -> Range<usize> {
        self.rows.start..self.rows.end.min(self.module.outputs.real)
    }

    /// Whether it is the last of its module.
    pub(super) fn is_last(&self) -> bool {
        self.rows.end == self.module.outputs.padded
    }
}

/// Consecutive rows of the embedding or head.
#[derive(Clone, Copy, Debug)]
pub struct Slab {
    pub first_id: usize,
    pub n_ids: usize,
    pub weight: Weight,
}

impl Slab {
    /// Rows between those at which a binding can start, whatever a row of the format and its scales take.
    pub(super) fn step(&self) -> usize {
        if self.weight.format.is_quantized() { 128 } else { 16 }
    }

    /// `n_ids` of its rows of `depth` values, from its row `first` on, a multiple of [`Slab::step`].
    pub(super) fn part(&self, first: usize, n_ids: usize, depth: usize) -> Slab {
        let Weight { format, values, scales, .. } = self.weight;
        let bytes = |rows: usize| {
            [rows * format.row_words(depth), format.scale_words(rows, depth)].map(|words| 4 * words as u64)
        };
        let (start, len) = (bytes(first), bytes(pad8(n_ids)));
        let values = values.slice(start[0], len[0]);
        let scales = if format.is_quantized() { scales.slice(start[1], len[1]) } else { values };
        Slab { first_id: self.first_id + first, n_ids, weight: Weight { values, scales, ..self.weight } }
    }
}
