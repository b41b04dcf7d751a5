//! Memory of the processor's kernels.

use std::future::Future;
use std::pin::Pin;

use web_time::Instant;

use super::Cpu;
use crate::error::Result;

/// Bytes in the kernels' memory, counted while they live.
pub(crate) struct Buffer {
    cpu: Cpu,
    pub(super) address: u64,
    size: u64,
}

impl Buffer {
    /// One of `size` bytes, zero at first.
    ///
    /// # Errors
    ///
    /// `out-of-memory` where there are no more.
    pub(crate) fn new(cpu: &Cpu, size: u64) -> Result<Self> {
        let address = cpu.machine().allocate(size)?;
        cpu.counters().buffer_made(size);
        Ok(Buffer { cpu: cpu.clone(), address, size })
    }

    /// Writes `bytes` at `offset` after all that was started so far.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) {
        self.cpu.machine().write(self.address + offset, bytes);
    }

    /// Starts reading `bytes` bytes from `offset` on, as they are after all that was started so far.
    pub(crate) fn read(&self, offset: u64, bytes: u64) -> Readback {
        let read = self.cpu.machine().read(self.address + offset, bytes as usize);
        Readback(Box::pin(async move { Ok((read.await?, Instant::now())) }))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.cpu.machine().free(self.address, self.size);
        self.cpu.counters().buffer_freed(self.size);
    }
}

/// Bytes, and when they had arrived.
type Copied = (Vec<u8>, Instant);

/// Values on their way to the host.
pub(crate) struct Readback(Pin<Box<dyn Future<Output = Result<Copied>>>>);

impl Readback {
    /// Waits for the values, and tells when they had arrived.
    pub(crate) async fn finish<T: bytemuck::Pod>(self) -> Result<(Vec<T>, Instant)> {
        let (bytes, arrived) = self.0.await?;
        Ok((bytemuck::pod_collect_to_vec(&bytes), arrived))
    }
}
