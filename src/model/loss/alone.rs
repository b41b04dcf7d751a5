//! Losses without their gradient: the logits of one chunk of the vocabulary after another.

use std::array;

use super::Loss;
use crate::kernels::cross_entropy::{self, SUMMARY_WORDS};
use crate::kernels::{Recorder, linear};
use crate::memory::{ProgramId, Tensor};
use crate::model::architecture::pad8;
use crate::model::head::{self, Normed};

impl Loss<'_> {
    /// Records one program for each block: the losses of its rows, from the rows x [M, H], and in `misses`
    /// ([`LossPlan::rows`](super::LossPlan::rows)) 0 where the target is what greedy decoding takes, else 1. The caller has
    /// cleared both.
    pub fn blocks_alone(&self, rec: &mut Recorder, x: Tensor, misses: Tensor) -> Vec<ProgramId> {
        let Loss { model, plan, inputs, losses, .. } = *self;
        let chunks = self.chunks();
        let widest = chunks.iter().map(|chunk| pad8(chunk.n_ids)).max().expect("a head has a slab");
        let record = |block: usize| {
            let program = rec.program();
            let first = block * plan.block;
            let Normed { normed, .. } = head::final_norm(rec, model, x, inputs.index, first, plan.block);
            let logits = rec.transient(plan.block * widest);
            let no_sums = rec.transient(4);
            let mut summaries: [Tensor; 2] = array::from_fn(|_| rec.transient(plan.block * SUMMARY_WORDS));
            for part in &chunks {
                let cols = pad8(part.n_ids) as u32;
                let params = linear::Params {
                    y_stride: cols,
                    y_offset: 0,
                    ..head::slab_params(model, part, plan.block)
                };
                linear::forward(rec, params, normed, part.weight, None, None, logits);
                let of_chunk = cross_entropy::ChunkParams {
                    rows: plan.block as u32,
                    vocab: part.n_ids as u32,
                    stride: cols,
                    first: first as u32,
                    first_id: part.first_id as u32,
                    width: 0,
                };
                let [before, after] = summaries;
                let of = cross_entropy::Chunk { logits, before, after, sums: no_sums };
                cross_entropy::chunk(rec, of_chunk, inputs.targets, of);
                summaries.swap(0, 1);
            }
            let vocab = model.architecture.vocab.real as u32;
            let params = cross_entropy::LossesParams { rows: plan.block as u32, vocab, first: first as u32 };
            cross_entropy::losses(rec, params, inputs.targets, summaries[0], losses, misses);
            program
        };
        (0..plan.blocks).map(record).collect()
    }
}
