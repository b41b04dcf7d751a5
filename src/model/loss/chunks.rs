//! A block of rows against one chunk of the vocabulary after another.
//!
//! The gradient of a hidden row is (softmax(x·Wᵀ) − onehot(target))·W, and softmax(x·Wᵀ)·W is attention whose keys and
//! values are both W. So one sweep forward makes loss and gradient, as FlashAttention does (Dao et al. 2022,
//! arXiv:2205.14135) and Cut Cross-Entropy for the loss (Wijmans et al. 2024, arXiv:2411.09009): the head is read once
//! for the logits of a chunk and once for what they are worth, however many rows the block has.

use std::array;

use super::Loss;
use crate::kernels::Recorder;
use crate::kernels::cross_entropy::{self, SUMMARY_WORDS};
use crate::kernels::linear;
use crate::memory::Tensor;
use crate::model::architecture::pad8;
use crate::model::weights::Slab;
use crate::model::{embedding, head};

impl Loss<'_> {
    /// Records the losses of the block of rows from `first` on, and returns the gradient of `normed` [block, H].
    pub(super) fn in_chunks(&self, rec: &mut Recorder, first: usize, normed: Tensor) -> Tensor {
        let Loss { model, plan, inputs, losses, .. } = *self;
        let (block, width) = (plan.block, model.architecture.hidden.padded);
        let chunks = self.chunks();
        let widest = chunks.iter().map(|chunk| pad8(chunk.n_ids)).max().expect("a head has a slab");
        let logits = rec.transient(block * widest);
        // A dispatch may not read what it writes, so each chunk reads one of these and writes the other.
        let mut sums: [Tensor; 2] = array::from_fn(|_| rec.transient(block * width));
        let mut summaries: [Tensor; 2] = array::from_fn(|_| rec.transient(block * SUMMARY_WORDS));
        for (number, part) in chunks.into_iter().enumerate() {
            let cols = pad8(part.n_ids) as u32;
            let params =
                linear::Params { y_stride: cols, y_offset: 0, ..head::slab_params(model, &part, block) };
            linear::forward(rec, params, normed, part.weight, None, None, logits);

            let of_chunk = cross_entropy::ChunkParams {
                rows: block as u32,
                vocab: part.n_ids as u32,
                stride: cols,
                first: first as u32,
                first_id: part.first_id as u32,
                width: width as u32,
            };
            let [before, after] = summaries;
            let of = cross_entropy::Chunk { logits, before, after, sums: sums[0] };
            cross_entropy::chunk(rec, of_chunk, inputs.targets, of);
            summaries.swap(0, 1);

            let residual = (number > 0).then_some(sums[0]);
            let params = linear::Params { add_residual: u32::from(residual.is_some()), ..params };
            linear::backward(rec, params, logits, part.weight, None, residual, sums[1]);
            sums.swap(0, 1);
        }

        let targets = inputs.targets.slice(4 * first as u64, 4 * block as u64);
        let rows = embedding::rows(rec, model, &model.head, model.architecture.logits_scale, targets, block);
        let params = cross_entropy::FinishParams {
            rows: block as u32,
            vocab: model.architecture.vocab.real as u32,
            width: width as u32,
            first: first as u32,
        };
        let of = cross_entropy::Finish {
            row_weight: inputs.weight,
            summaries: summaries[0],
            sums: sums[0],
            rows,
            row_loss: losses,
        };
        cross_entropy::finish(rec, params, inputs.targets, of);
        rows
    }

    /// The chunks of each slab, about as wide as one another.
    pub(super) fn chunks(&self) -> Vec<Slab> {
        let Loss { model, plan, .. } = *self;
        let of_slab = |slab: &Slab| {
            let pieces = slab.n_ids.div_ceil(plan.chunk);
            let ids = slab.n_ids.div_ceil(pieces).next_multiple_of(slab.step());
            let (slab, depth) = (*slab, model.architecture.hidden.padded);
            let starts = (0..slab.n_ids).step_by(ids);
            starts.map(move |first| slab.part(first, ids.min(slab.n_ids - first), depth))
        };
        model.head.iter().flat_map(of_slab).collect()
    }
}
