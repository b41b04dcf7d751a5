//! What a GPU runs of a recording: dispatches in each size of a step, and their order.
//!
//! [`super::workspace::Workspace`] places every tensor, makes every bind group and replays the dispatches. The same
//! dispatches, never played, are the memory plan.

use std::rc::Rc;

use bytemuck::Pod;

use crate::memory::{Binding, MemoryPlan, ProgramId, Tensor, params_bytes};

/// One operation.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Dispatch(Dispatch),
    Clear(Tensor),
    Copy { from: Tensor, to: Tensor },
}

/// A shader on some tensors, in every size of a step.
#[derive(Clone, Debug)]
pub(crate) struct Dispatch {
    /// Name in the shader table, e.g. `"linear_forward.nf4"`.
    pub(crate) shader: String,
    /// Bindings 1, 2, … in order, as long as the largest size needs them.
    pub(crate) bindings: Vec<Binding>,
    /// Of each size at least one; what is too much for one dispatch is several. Dispatches that are cut alike may share
    /// them.
    pub(crate) pieces: Rc<[Vec<Piece>]>,
}

impl Dispatch {
    pub(crate) fn tensors(&self) -> Vec<Tensor> {
        self.bindings.iter().map(|binding| binding.tensor).collect()
    }
}

/// A dispatch in one size, or a part of one that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Bytes of the `Params` struct at binding 0, padded to a multiple of 16.
    pub(crate) params: Vec<u8>,
    pub(crate) workgroups: [u32; 3],
    /// Floating-point operations, or an equivalent for work bound by memory; cuts submits.
    pub(crate) flops: u64,
    /// Whether `flops` are those of every pair of a row and a key, of which the spans of a run let only a share
    /// through. The params of such a piece serve those that follow it too: a run that joins them counts their
    /// workgroups together along x.
    pub(crate) by_spans: bool,
}

impl Piece {
    pub(crate) fn new<P: Pod>(params: &P, workgroups: [u32; 3], flops: u64) -> Self {
        Piece { params: params_bytes(params), workgroups, flops, by_spans: false }
    }
}

impl Op {
    pub(crate) fn tensors(&self) -> Vec<Tensor> {
        match self {
            Op::Dispatch(dispatch) => dispatch.tensors(),
            Op::Clear(tensor) => vec![*tensor],
            Op::Copy { from, to } => vec![*from, *to],
        }
    }
}

/// Programs of dispatches, in the order in which a step runs them. Each is replayed as a whole.
#[derive(Clone, Debug, Default)]
pub struct Dispatches {
    /// The bytes of each transient tensor.
    pub(crate) transients: Vec<u64>,
    pub(crate) programs: Vec<Vec<Op>>,
}

impl Dispatches {
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts the next program; what comes from here on belongs to it.
    ///
    /// A transient tensor may be written in one program and read in a later one.
    pub fn program(&mut self) -> ProgramId {
        self.programs.push(Vec::new());
        ProgramId(self.programs.len() - 1)
    }

    /// Adds a dispatch in one size of `shader` over `workgroups`, with `params` at binding 0.
    pub fn dispatch<P: Pod>(
        &mut self,
        shader: impl Into<String>,
        params: &P,
        bindings: &[Binding],
        workgroups: [u32; 3],
        flops: u64,
    ) {
        let pieces = Rc::new([vec![Piece::new(params, workgroups, flops)]]);
        self.push(Op::Dispatch(Dispatch { shader: shader.into(), bindings: bindings.to_vec(), pieces }));
    }

    /// Where their transient tensors lie.
    pub fn plan(&self) -> MemoryPlan {
        MemoryPlan::new(&self.transients, self.programs.iter().flatten().map(Op::tensors))
    }

    pub(crate) fn push(&mut self, op: Op) {
        self.programs.last_mut().expect("program() comes before its operations").push(op);
    }
}

/// Workgroup counts for `count` workgroups in a row, folded into two dimensions past the limit of
/// 65,535; shaders read their index as `id.x + id.y * count.x` and return past the end.
pub fn grid(count: usize) -> [u32; 3] {
    let count = count.max(1) as u32;
    let rows = count.div_ceil(65_535);
    [count.div_ceil(rows), rows, 1]
}
