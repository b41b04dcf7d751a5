//! Records what a step does, without touching a GPU: tensors, dispatches and their order.
//!
//! Model code records once; [`super::workspace::Workspace`] then places every tensor, makes every
//! bind group and replays the dispatches. The same recording, never played, is the memory plan.

use bytemuck::Pod;

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
        /// Bytes of the `Params` struct at binding 0, padded to a multiple of 16.
        params: Vec<u8>,
        /// Bindings 1, 2, … in order.
        bindings: Vec<Binding>,
        workgroups: [u32; 3],
        /// Floating-point operations, or an equivalent for work bound by memory; cuts submits.
        flops: u64,
    },
    Clear(Tensor),
    Copy {
        from: Tensor,
        to: Tensor,
    },
}

impl Op {
    pub(crate) fn tensors(&self) -> Vec<Tensor> {
        match self {
            Op::Dispatch { bindings, .. } => bindings.iter().map(|binding| binding.tensor).collect(),
            Op::Clear(tensor) => vec![*tensor],
            Op::Copy { from, to } => vec![*from, *to],
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

/// Collects programs in the order in which a step runs them.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    for_cpu: bool,
    lanes: u32,
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
        let mut bytes = bytemuck::bytes_of(params).to_vec();
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        self.push(Op::Dispatch {
            shader: shader.into(),
            params: bytes,
            bindings: bindings.to_vec(),
            workgroups,
            flops,
        });
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
