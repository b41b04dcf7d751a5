//! What the processor runs of a recording: calls of kernels in each size of a step, and their order.

use crate::memory::{Binding, MemoryPlan, Tensor};

/// A kernel on some tensors, in every size of a step.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Name in the table of `tabtune-cpu`, e.g. `"linear_forward.nf4"`.
    pub(crate) kernel: String,
    /// As long as the largest size needs them.
    pub(crate) bindings: Vec<Binding>,
    /// Bytes of the kernel's `Params` in each size.
    pub(crate) params: Vec<Vec<u8>>,
}

impl Call {
    pub(crate) fn tensors(&self) -> Vec<Tensor> {
        self.bindings.iter().map(|binding| binding.tensor).collect()
    }
}

/// Programs of calls, in the order in which a step runs them.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    /// The number of sizes that each call has its params in.
    pub(crate) sizes: usize,
    /// The bytes of each transient tensor.
    pub(crate) transients: Vec<u64>,
    pub(crate) programs: Vec<Vec<Call>>,
}

impl Calls {
    /// Where their transient tensors lie.
    pub fn plan(&self) -> MemoryPlan {
        MemoryPlan::new(&self.transients, self.programs.iter().flatten().map(Call::tensors))
    }
}
