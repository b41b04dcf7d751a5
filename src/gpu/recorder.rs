//! Records what a step does, without touching a GPU: tensors, dispatches and their order.
//!
//! Model code records once; [`super::workspace::Workspace`] then places every tensor, makes every
//! bind group and replays the dispatches. The same recording, never played, is the memory plan.

use bytemuck::Pod;

use crate::bail;
use crate::error::Result;

/// Where a tensor's bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// Buffer `n` of the [`super::store::Store`]: weights, adapter, optimiser, inputs.
    Kept(u32),
    /// Tensor `n` of a recording, which shares memory with others whose uses do not overlap.
    Transient(u32),
}

/// A handle to bytes on the GPU: a whole buffer or an aligned part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tensor {
    pub(crate) place: Place,
    /// In bytes; a multiple of [`ALIGNMENT`].
    pub(crate) offset: u64,
    /// In bytes.
    pub(crate) size: u64,
}

/// The offset alignment that WebGPU guarantees for storage and uniform bindings, in bytes.
pub const ALIGNMENT: u64 = 256;

impl Tensor {
    /// The part of this tensor at `offset` (bytes, a multiple of [`ALIGNMENT`]) with `size` bytes.
    pub fn slice(self, offset: u64, size: u64) -> Tensor {
        assert!(offset.is_multiple_of(ALIGNMENT), "slice at {offset} is not aligned");
        assert!(offset + size <= self.size, "slice {offset}+{size} passes the end {}", self.size);
        Tensor { place: self.place, offset: self.offset + offset, size }
    }

    /// The length in bytes.
    pub fn size(self) -> u64 {
        self.size
    }
}

/// How a dispatch uses a tensor. WGSL declares it `read` or `read_write` alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    pub(crate) tensor: Tensor,
    pub(crate) writable: bool,
}

/// Bound as `var<storage, read>`.
pub fn read(tensor: Tensor) -> Binding {
    Binding { tensor, writable: false }
}

/// Bound as `var<storage, read_write>`.
pub fn write(tensor: Tensor) -> Binding {
    Binding { tensor, writable: true }
}

/// One recorded operation.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Dispatch {
        /// Name in the shader table, e.g. `"linear_forward.nf4"`.
        shader: String,
        /// Bindings 1, 2, … in order.
        bindings: Vec<Binding>,
        /// At least one; what is too much for one dispatch is several.
        pieces: Vec<Piece>,
    },
    Clear(Tensor),
    Copy {
        from: Tensor,
        to: Tensor,
    },
}

/// A dispatch, or a part of one that was cut.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// Bytes of the `Params` struct at binding 0, padded to a multiple of 16.
    pub(crate) params: Vec<u8>,
    pub(crate) workgroups: [u32; 3],
    /// Floating-point operations, or an equivalent for work bound by memory; cuts submits.
    pub(crate) flops: u64,
    /// Whether `flops` are those of every pair of a row and a key, of which the spans of a run let only a share
    /// through.
    pub(crate) by_spans: bool,
}

impl Piece {
    fn new<P: Pod>(params: &P, workgroups: [u32; 3], flops: u64, by_spans: bool) -> Self {
        let mut params = bytemuck::bytes_of(params).to_vec();
        params.resize(params.len().next_multiple_of(16), 0);
        Piece { params, workgroups, flops, by_spans }
    }
}

impl Op {
    pub(crate) fn tensors(&self) -> Vec<Tensor> {
        match self {
            Op::Dispatch { bindings, .. } => bindings.iter().map(|binding| binding.tensor).collect(),
            Op::Clear(tensor) => vec![*tensor],
            Op::Copy { from, to } => vec![*from, *to],
        }
    }

    /// Whether pipeline and bind group of `self` serve `other` too. A recording of fewer rows has shorter tensors
    /// in the same places.
    fn is_like(&self, other: &Op) -> bool {
        let places = |op: &Op| -> Vec<_> {
            op.tensors().into_iter().map(|tensor| (tensor.place, tensor.offset)).collect()
        };
        let is_alike = match (self, other) {
            (
                Op::Dispatch { shader, bindings, .. },
                Op::Dispatch { shader: other_shader, bindings: others, .. },
            ) => {
                let writable = |bindings: &[Binding]| -> Vec<bool> {
                    bindings.iter().map(|binding| binding.writable).collect()
                };
                shader == other_shader && writable(bindings) == writable(others)
            }
            (Op::Clear(_), Op::Clear(_)) | (Op::Copy { .. }, Op::Copy { .. }) => true,
            _ => false,
        };
        is_alike && places(self) == places(other)
    }

    /// What the operation is, for people.
    fn name(&self) -> &str {
        match self {
            Op::Dispatch { shader, .. } => shader,
            Op::Clear(_) => "a clear",
            Op::Copy { .. } => "a copy",
        }
    }
}

/// A run of operations that is replayed as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) ops: Vec<Op>,
}

#[derive(Clone, Debug)]
pub(crate) struct Transient {
    pub(crate) size: u64,
}

/// Floating-point operations of the pieces of a kernel that can be cut, on GPUs and on CPU adapters. A submit is at
/// least one piece, and Windows resets a GPU whose submit takes two seconds: a weak one does these in a fraction of
/// that. A run joins the pieces that fit one submit.
const MOST_FLOPS: [u64; 2] = [5_000_000_000, 500_000_000];

/// Collects programs in the order in which a step runs them.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    for_cpu: bool,
    lanes: u32,
    most_flops: Option<u64>,
    pub(crate) transients: Vec<Transient>,
    pub(crate) programs: Vec<Program>,
}

/// Identifies a recorded program within its recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramId(pub(crate) usize);

impl Recorder {
    /// For GPUs, where the invocations of a workgroup best share the work.
    pub fn new() -> Self {
        Self::default()
    }

    /// For adapters that compute on the CPU: a barrier there suspends every invocation, so kernels
    /// choose variants in which each invocation works alone, or a subgroup of `lanes` together (4 or
    /// 8; 0 where it may have any size).
    pub fn for_cpu(lanes: u32) -> Self {
        Recorder { for_cpu: true, lanes, ..Self::default() }
    }

    /// Invocations of a subgroup that kernels may count on, or 0.
    pub fn lanes(&self) -> u32 {
        self.lanes
    }

    /// The same recorder with dispatches cut at so many floating-point operations.
    pub fn cut_at(self, most_flops: u64) -> Self {
        Recorder { most_flops: Some(most_flops), ..self }
    }

    /// Floating-point operations at which a kernel that can be cut by rows is.
    pub fn most_flops(&self) -> u64 {
        self.most_flops.unwrap_or(MOST_FLOPS[usize::from(self.for_cpu)])
    }

    /// The variant of a kernel that has one for a workgroup together and one for each invocation
    /// alone, with the number of workgroups for `rows` rows of `length`.
    pub fn team(&self, kernel: &str, rows: usize, length: usize) -> (String, [u32; 3]) {
        const ALONE: usize = 8;
        // In long rows the barriers weigh little, and one chain of sums would lose digits.
        const LONGEST_ALONE: usize = 16_384;
        match self.for_cpu && length <= LONGEST_ALONE {
            true => (format!("{kernel}.alone"), grid(rows.div_ceil(ALONE))),
            false => (format!("{kernel}.group"), grid(rows)),
        }
    }

    /// Starts the next program; what is recorded from here on belongs to it.
    ///
    /// A transient tensor may be written in one program and read in a later one.
    pub fn program(&mut self) -> ProgramId {
        self.programs.push(Program { ops: Vec::new() });
        ProgramId(self.programs.len() - 1)
    }

    /// A tensor of `elements` 4-byte values that holds nothing before its first use.
    pub fn transient(&mut self, elements: usize) -> Tensor {
        let size = (elements as u64 * 4).max(16);
        self.transients.push(Transient { size });
        Tensor { place: Place::Transient(self.transients.len() as u32 - 1), offset: 0, size }
    }

    /// Records a dispatch of `shader` over `workgroups`, with `params` at binding 0.
    pub fn dispatch<P: Pod>(
        &mut self,
        shader: impl Into<String>,
        params: &P,
        bindings: &[Binding],
        workgroups: [u32; 3],
        flops: u64,
    ) {
        let pieces = vec![Piece::new(params, workgroups, flops, false)];
        self.push(Op::Dispatch { shader: shader.into(), bindings: bindings.to_vec(), pieces });
    }

    /// Records a kernel over pairs of rows and keys in pieces of its rows, each with its params, its workgroups and
    /// the floating-point operations of all its pairs. A run says which share of them its spans let through. The params
    /// of a piece serve those that follow it too: a run that joins them counts their workgroups together along x.
    pub fn dispatch_pairs<P: Pod>(
        &mut self,
        shader: impl Into<String>,
        bindings: &[Binding],
        pieces: &[(P, [u32; 3], u64)],
    ) {
        let piece =
            |(params, workgroups, flops): &(P, [u32; 3], u64)| Piece::new(params, *workgroups, *flops, true);
        let pieces = pieces.iter().map(piece).collect();
        self.push(Op::Dispatch { shader: shader.into(), bindings: bindings.to_vec(), pieces });
    }

    /// Records setting every byte of `tensor` to zero.
    pub fn clear(&mut self, tensor: Tensor) {
        self.push(Op::Clear(tensor));
    }

    /// Records a copy between tensors of equal size in different buffers.
    pub fn copy(&mut self, from: Tensor, to: Tensor) {
        assert_eq!(from.size, to.size, "a copy keeps its size");
        self.push(Op::Copy { from, to });
    }

    /// Fails with code `internal` unless all `recordings` hold the same operations on the same tensors, so that one
    /// pipeline and one bind group serve each of them in every size.
    pub(crate) fn expect_alike(recordings: &[Recorder]) -> Result<()> {
        let Some((largest, others)) = recordings.split_first() else { return Ok(()) };
        for (number, other) in (2..).zip(others) {
            let counts = |recording: &Recorder| -> Vec<usize> {
                recording.programs.iter().map(|program| program.ops.len()).collect()
            };
            if counts(largest) != counts(other) {
                bail!(
                    Internal,
                    "recording {number} of a step has {:?} operations in its programs, the largest has {:?}: which \
                     operations there are must not depend on the number of rows",
                    counts(other),
                    counts(largest)
                );
            }
            for (program, (ops, others)) in largest.programs.iter().zip(&other.programs).enumerate() {
                let mut pairs = ops.ops.iter().zip(&others.ops);
                if let Some((op, other)) = pairs.find(|(op, other)| !op.is_like(other)) {
                    bail!(
                        Internal,
                        "program {program} of recording {number} of a step has {} on {:?}, the largest has {} on \
                         {:?}: which shader runs on which tensors must not depend on the number of rows",
                        other.name(),
                        other.tensors(),
                        op.name(),
                        op.tensors()
                    );
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, op: Op) {
        self.programs.last_mut().expect("program() comes before its operations").ops.push(op);
    }
}

/// Workgroup counts for `count` workgroups in a row, folded into two dimensions past the limit of
/// 65,535; shaders read their index as `id.x + id.y * count.x` and return past the end.
pub fn grid(count: usize) -> [u32; 3] {
    let count = count.max(1) as u32;
    let rows = count.div_ceil(65_535);
    [count.div_ceil(rows), rows, 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step of `rows` rows: a clear, then `shader` on two tensors.
    fn step(shader: &str, rows: usize, swaps: bool, second_is_written: bool) -> Recorder {
        let mut rec = Recorder::new();
        rec.program();
        let (mut a, mut b) = (rec.transient(rows), rec.transient(rows));
        if swaps {
            (a, b) = (b, a);
        }
        rec.clear(a);
        let second = if second_is_written { write(b) } else { read(b) };
        rec.dispatch(shader, &[rows as u32], &[write(a), second], grid(rows), 1);
        rec
    }

    #[test]
    fn recordings_differ_in_rows_alone() {
        let largest = step("a", 64, false, false);
        Recorder::expect_alike(&[largest.clone(), step("a", 8, false, false)]).unwrap();
        let with_more = |mut recorder: Recorder| {
            recorder.clear(Tensor { place: Place::Transient(0), offset: 0, size: 32 });
            recorder
        };
        for (other, expected) in [
            (step("b", 8, false, false), "program 0 of recording 3 of a step has b on "),
            (step("a", 8, true, false), "program 0 of recording 3 of a step has a clear on "),
            (step("a", 8, false, true), "program 0 of recording 3 of a step has a on "),
            (with_more(step("a", 8, false, false)), "recording 3 of a step has [3] operations"),
        ] {
            let error =
                Recorder::expect_alike(&[largest.clone(), step("a", 8, false, false), other]).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }
}
