//! Lowered programs made real: memory and parameters, all made once, then replayed.

use super::{Buffer, Device, Lowered, Store};
use crate::bail;
use crate::cpu;
use crate::error::{Code, Error, Result};
use crate::gpu;
use crate::memory::{MemoryPlan, ProgramId};

/// Programs ready to run on one device, in each of the sizes that a step may have.
pub struct Workspace {
    programs: Programs,
    plan: MemoryPlan,
}

enum Programs {
    Gpu(gpu::Workspace),
    Cpu(cpu::Workspace),
}

impl Workspace {
    /// Makes all that `lowered` needs, which is work for [`Device::allocating`]. Its kept tensors are those of `store`.
    ///
    /// # Errors
    ///
    /// `out-of-memory` for a working tensor that is larger than one binding.
    pub fn new(device: &Device, store: &Store, lowered: &Lowered) -> Result<Self> {
        let plan = lowered.plan();
        if let Some(size) = plan.slots.iter().find(|&&size| size > store.max_binding()) {
            let message = format!(
                "a working tensor of the step takes {size} bytes, and one buffer holds {}: \
                 lower max_length or per_device_train_batch_size",
                store.max_binding()
            );
            return Err(Error::new(Code::OutOfMemory, message));
        }
        let programs = match (device, lowered) {
            (Device::Gpu(gpu), Lowered::Gpu(dispatches)) => {
                let kept = |tensor| match store.buffer(tensor) {
                    Buffer::Gpu(buffer) => buffer,
                    Buffer::Cpu(_) => unreachable!("a GPU's store keeps its tensors there"),
                };
                Programs::Gpu(gpu::Workspace::new(gpu, dispatches, &plan, kept))
            }
            (Device::Cpu(cpu, _), Lowered::Cpu(calls)) => {
                let kept = |tensor| match store.buffer(tensor) {
                    Buffer::Cpu(buffer) => buffer,
                    Buffer::Gpu(_) => unreachable!("the processor's store keeps its tensors there"),
                };
                Programs::Cpu(cpu::Workspace::new(cpu, calls, &plan, kept)?)
            }
            (Device::Gpu(_), Lowered::Cpu(_)) | (Device::Cpu(..), Lowered::Gpu(_)) => {
                bail!(
                    Internal,
                    "a step was lowered for another kind of device than {}",
                    device.summary().name
                )
            }
        };
        Ok(Workspace { programs, plan })
    }

    pub fn plan(&self) -> &MemoryPlan {
        &self.plan
    }

    /// Runs `programs` in order at `size` (an index into the sizes of the step). Returns the floating-point
    /// operations of the run on a GPU, by which its submits are cut; 0 on the processor.
    pub fn run(&self, programs: &[ProgramId], size: usize) -> u64 {
        self.run_seeing(programs, size, 1.0)
    }

    /// [`Workspace::run`] where the spans let the share `seen` of the recorded pairs of rows and keys through.
    pub fn run_seeing(&self, programs: &[ProgramId], size: usize, seen: f64) -> u64 {
        match &self.programs {
            Programs::Gpu(workspace) => workspace.run(programs, size, seen),
            Programs::Cpu(workspace) => {
                workspace.run(programs, size);
                0
            }
        }
    }

    /// Runs `programs` once and returns for each call its shader, its seconds, and its floating-point operations. An
    /// answer without calls means that the device was lost, of which [`Device::check`] says more.
    pub async fn profile(&self, programs: &[ProgramId], size: usize) -> Vec<(&str, f64, u64)> {
        match &self.programs {
            Programs::Gpu(workspace) => workspace.profile(programs, size).await,
            Programs::Cpu(workspace) => {
                let times = workspace.profile(programs, size).await;
                times.into_iter().map(|(kernel, seconds)| (kernel, seconds, 0)).collect()
            }
        }
    }

    /// The seconds by the device's own clock for which it works on `programs`: what a step takes beyond that, it
    /// waited. `None` for a device without such a clock.
    pub async fn busy_seconds(&self, programs: &[ProgramId], size: usize) -> Result<Option<f64>> {
        match &self.programs {
            Programs::Gpu(workspace) => workspace.busy_seconds(programs, size).await,
            Programs::Cpu(_) => Ok(None),
        }
    }
}
