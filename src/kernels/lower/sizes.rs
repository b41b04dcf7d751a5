//! One call in every size of a step.

use bytemuck::Pod;

use crate::gpu::{Dispatch, Piece};
use crate::kernels::recorder::Call;
use crate::memory::{Binding, Tensor};

/// A call in every size of a step, largest first. The largest decides what all have in common: shader and bindings.
pub(in crate::kernels) struct Sizes<'a>(Vec<&'a Call>);

impl<'a> Sizes<'a> {
    pub(super) fn new(calls: Vec<&'a Call>) -> Self {
        Sizes(calls)
    }

    pub(super) fn call(&self) -> &'a Call {
        self.0[0]
    }

    /// The params of the largest.
    pub(in crate::kernels) fn largest<P: Pod>(&self) -> P {
        self.call().params()
    }

    pub(in crate::kernels) fn bindings(&self) -> &'a [Binding] {
        &self.call().bindings
    }

    /// Tensor `index` of the largest, counted from 0.
    pub(in crate::kernels) fn tensor(&self, index: usize) -> Tensor {
        self.bindings()[index].tensor
    }

    /// Dispatches `shader`, with the workgroups and floating-point operations that `work` says.
    pub(in crate::kernels) fn dispatch<P: Pod>(
        &self,
        shader: impl Into<String>,
        work: impl Fn(&P) -> ([u32; 3], u64),
    ) -> Dispatch {
        self.in_pieces(shader.into(), |params: P| {
            let (workgroups, flops) = work(&params);
            vec![Piece::new(&params, workgroups, flops)]
        })
    }

    /// Dispatches a kernel over pairs of rows and keys in the pieces that `cut` makes: each with its params, its
    /// workgroups and the floating-point operations of all its pairs.
    pub(in crate::kernels) fn dispatch_pairs<P: Pod>(
        &self,
        shader: String,
        cut: impl Fn(&P) -> Vec<(P, [u32; 3], u64)>,
    ) -> Dispatch {
        self.in_pieces(shader, |params: P| {
            let piece = |(params, workgroups, flops): (P, [u32; 3], u64)| Piece {
                by_spans: true,
                ..Piece::new(&params, workgroups, flops)
            };
            cut(&params).into_iter().map(piece).collect()
        })
    }

    fn in_pieces<P: Pod>(&self, shader: String, pieces: impl Fn(P) -> Vec<Piece>) -> Dispatch {
        let pieces = self.0.iter().map(|call| pieces(call.params())).collect();
        Dispatch { shader, bindings: self.bindings().to_vec(), pieces }
    }
}
