//! Records what a step does, without knowing what will run it: tensors, calls of kernels and their order.
//!
//! Model code records once; [`super::lower`] makes of it what a device replays.

mod call;

use bytemuck::Pod;

pub(crate) use call::{Call, Kernel};

use crate::bail;
use crate::error::Result;
use crate::memory::{Binding, ProgramId, Tensor, add_transient};

/// One recorded operation.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Call(Call),
    Clear(Tensor),
    Copy { from: Tensor, to: Tensor },
}

impl Op {
    pub(super) fn tensors(&self) -> Vec<Tensor> {
        match self {
            Op::Call(call) => call.tensors(),
            Op::Clear(tensor) => vec![*tensor],
            Op::Copy { from, to } => vec![*from, *to],
        }
    }

    /// Whether both do the same on the same tensors. A recording of fewer rows has shorter tensors in the same places.
    fn is_like(&self, other: &Op) -> bool {
        let places = |op: &Op| -> Vec<_> {
            op.tensors().into_iter().map(|tensor| (tensor.place, tensor.offset)).collect()
        };
        let is_alike = match (self, other) {
            (Op::Call(call), Op::Call(other)) => {
                let writable = |call: &Call| -> Vec<bool> {
                    call.bindings.iter().map(|binding| binding.writable).collect()
                };
                call.kernel == other.kernel && writable(call) == writable(other)
            }
            (Op::Clear(_), Op::Clear(_)) | (Op::Copy { .. }, Op::Copy { .. }) => true,
            _ => false,
        };
        is_alike && places(self) == places(other)
    }

    /// What the operation is, for people.
    fn name(&self) -> String {
        match self {
            Op::Call(call) => format!("{:?}", call.kernel),
            Op::Clear(_) => "a clear".to_owned(),
            Op::Copy { .. } => "a copy".to_owned(),
        }
    }
}

/// Collects programs in the order in which a step runs them.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// The bytes of each transient tensor.
    pub(super) transients: Vec<u64>,
    pub(super) programs: Vec<Vec<Op>>,
}

impl Recorder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.programs.iter().all(Vec::is_empty)
    }

    /// Starts the next program; what is recorded from here on belongs to it.
    ///
    /// A transient tensor may be written in one program and read in a later one.
    pub fn program(&mut self) -> ProgramId {
        self.programs.push(Vec::new());
        ProgramId(self.programs.len() - 1)
    }

    /// A tensor of `elements` 4-byte values that holds nothing before its first use.
    pub fn transient(&mut self, elements: usize) -> Tensor {
        add_transient(&mut self.transients, elements)
    }

    /// Records a call of `kernel`, whose operands are bound in the order of `bindings`.
    pub(super) fn call<P: Pod>(&mut self, kernel: Kernel, params: &P, bindings: &[Binding]) {
        self.push(Op::Call(Call::new(kernel, params, bindings)));
    }

    /// Records setting every byte of `tensor` to zero.
    pub fn clear(&mut self, tensor: Tensor) {
        self.push(Op::Clear(tensor));
    }

    /// Records a copy between tensors of equal size in different buffers.
    pub fn copy(&mut self, from: Tensor, to: Tensor) {
        assert_eq!(from.size(), to.size(), "a copy keeps its size");
        self.push(Op::Copy { from, to });
    }

    /// Fails with code `internal` unless all `recordings` hold the same operations on the same tensors, so that what
    /// the largest is lowered to serves each of them.
    pub(super) fn expect_alike(recordings: &[Recorder]) -> Result<()> {
        let Some((largest, others)) = recordings.split_first() else { return Ok(()) };
        for (number, other) in (2..).zip(others) {
            let counts =
                |recording: &Recorder| -> Vec<usize> { recording.programs.iter().map(Vec::len).collect() };
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
                if let Some((op, other)) = ops.iter().zip(others).find(|(op, other)| !op.is_like(other)) {
                    bail!(
                        Internal,
                        "program {program} of recording {number} of a step has {} on {:?}, the largest has {} on \
                         {:?}: which kernel runs on which tensors must not depend on the number of rows",
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
        self.programs.last_mut().expect("program() comes before its operations").push(op);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{read, write};

    /// A step of `rows` rows: a clear, then `kernel` on two tensors.
    fn step(kernel: Kernel, rows: usize, swaps: bool, second_is_written: bool) -> Recorder {
        let mut rec = Recorder::new();
        rec.program();
        let (mut a, mut b) = (rec.transient(rows), rec.transient(rows));
        if swaps {
            (a, b) = (b, a);
        }
        rec.clear(a);
        let second = if second_is_written { write(b) } else { read(b) };
        rec.call(kernel, &[rows as u32], &[write(a), second]);
        rec
    }

    #[test]
    fn recordings_differ_in_rows_alone() {
        use Kernel::{Bias, Rope};
        let largest = step(Bias, 64, false, false);
        Recorder::expect_alike(&[largest.clone(), step(Bias, 8, false, false)]).unwrap();
        let with_more = |mut recorder: Recorder| {
            let tensor = recorder.transient(8);
            recorder.clear(tensor);
            recorder
        };
        for (other, expected) in [
            (step(Rope, 8, false, false), "program 0 of recording 3 of a step has Rope on "),
            (step(Bias, 8, true, false), "program 0 of recording 3 of a step has a clear on "),
            (step(Bias, 8, false, true), "program 0 of recording 3 of a step has Bias on "),
            (with_more(step(Bias, 8, false, false)), "recording 3 of a step has [3] operations"),
        ] {
            let error =
                Recorder::expect_alike(&[largest.clone(), step(Bias, 8, false, false), other]).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }
}
