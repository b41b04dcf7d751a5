//! Brings values from a device to the host without stalling what comes next.

use web_time::Instant;

use super::{Buffer, Device, Lowered, Store};
use crate::cpu;
use crate::error::Result;
use crate::gpu;
use crate::memory::Tensor;

/// A few places for reads in turn: the values of one step are read while the next one runs.
pub struct ReadbackRing {
    staging: Staging,
    bytes: u64,
}

enum Staging {
    Gpu(gpu::Staging),
    /// The processor's values are copied where they lie.
    Cpu,
}

/// Values on their way to the host.
pub enum Readback {
    #[expect(private_interfaces, reason = "opaque to those who wait for it")]
    Gpu(gpu::Readback),
    #[expect(private_interfaces, reason = "opaque to those who wait for it")]
    Cpu(cpu::Readback),
}

impl ReadbackRing {
    /// A ring for reads of at most `bytes`, of which `depth` may be under way at once.
    pub fn new(device: &Device, bytes: u64, depth: usize) -> Self {
        let bytes = bytes.next_multiple_of(8);
        let staging = match device {
            Device::Gpu(gpu) => Staging::Gpu(gpu::Staging::new(gpu, bytes, depth)),
            Device::Cpu(..) => Staging::Cpu,
        };
        ReadbackRing { staging, bytes }
    }

    /// The bytes that rings for reads of `bytes` take, of `depth` in all, beside what `lowered` runs on.
    pub fn bytes(lowered: &Lowered, bytes: u64, depth: usize) -> u64 {
        match lowered {
            Lowered::Gpu(_) => bytes.next_multiple_of(8) * depth as u64,
            Lowered::Cpu(_) => 0,
        }
    }

    /// Starts reading `tensor` as it is after all work started so far. The read that used this
    /// place of the ring `depth` calls ago must have been awaited.
    pub fn start(&mut self, store: &Store, tensor: Tensor) -> Readback {
        self.start_part(store, tensor, 0, tensor.size)
    }

    /// As [`ReadbackRing::start`], for `bytes` bytes of `tensor` from `offset` on, both multiples of 4.
    pub fn start_part(&mut self, store: &Store, tensor: Tensor, offset: u64, bytes: u64) -> Readback {
        assert!(bytes <= self.bytes, "a read of {bytes} passes the ring's {}", self.bytes);
        assert!(offset + bytes <= tensor.size, "a read stays within its tensor");
        match (&mut self.staging, store.buffer(tensor)) {
            (Staging::Gpu(staging), Buffer::Gpu(from)) => {
                Readback::Gpu(staging.start(from, tensor.offset + offset, bytes))
            }
            (_, Buffer::Cpu(from)) => Readback::Cpu(from.read(tensor.offset + offset, bytes)),
            (Staging::Cpu, Buffer::Gpu(_)) => unreachable!("a ring reads tensors of its own device"),
        }
    }

    /// Waits for `readback` and returns its values.
    pub async fn finish<T: bytemuck::Pod>(&self, readback: Readback) -> Result<Vec<T>> {
        self.finish_timed(readback).await.map(|(values, _)| values)
    }

    /// Waits for `readback` and returns its values and when they had arrived, which may be long ago.
    pub async fn finish_timed<T: bytemuck::Pod>(&self, readback: Readback) -> Result<(Vec<T>, Instant)> {
        match (&self.staging, readback) {
            (Staging::Gpu(staging), Readback::Gpu(readback)) => staging.finish(readback).await,
            (_, Readback::Cpu(readback)) => readback.finish().await,
            (Staging::Cpu, Readback::Gpu(_)) => unreachable!("a ring waits for what it started"),
        }
    }

    /// Reads `tensor` once, waiting for it.
    pub async fn read<T: bytemuck::Pod>(device: &Device, store: &Store, tensor: Tensor) -> Result<Vec<T>> {
        let mut ring = ReadbackRing::new(device, tensor.size, 1);
        let readback = ring.start(store, tensor);
        ring.finish(readback).await
    }
}
