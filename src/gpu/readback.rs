//! Brings values from the GPU to the host without stalling what comes next.

use futures_channel::oneshot;
use web_time::Instant;

use super::device::Gpu;
use super::dispatches::Tensor;
use super::store::{Buffer, Store};
use crate::bail;
use crate::error::Result;

/// A few staging buffers in turn: the values of one step are read while the next one runs.
pub struct ReadbackRing {
    gpu: Gpu,
    staging: Vec<Buffer>,
    next: usize,
    bytes: u64,
}

/// Values on their way to the host.
pub struct Readback {
    buffer: wgpu::Buffer,
    bytes: u64,
    submission: wgpu::SubmissionIndex,
    mapped: oneshot::Receiver<(std::result::Result<(), wgpu::BufferAsyncError>, Instant)>,
}

impl ReadbackRing {
    /// A ring for reads of at most `bytes`, of which `depth` may be under way at once.
    pub fn new(gpu: &Gpu, bytes: u64, depth: usize) -> Self {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let bytes = bytes.next_multiple_of(8);
        let staging = (0..depth).map(|_| Buffer::new(gpu, "staging", bytes, usage)).collect();
        ReadbackRing { gpu: gpu.clone(), staging, next: 0, bytes }
    }

    /// The bytes of staging that rings for reads of `bytes` take, of `depth` in all.
    pub fn bytes(bytes: u64, depth: usize) -> u64 {
        bytes.next_multiple_of(8) * depth as u64
    }

    /// Starts reading `tensor` as it is after all work submitted so far. The read that used this
    /// place of the ring `depth` calls ago must have been awaited.
    pub fn start(&mut self, store: &Store, tensor: Tensor) -> Readback {
        self.start_part(store, tensor, 0, tensor.size)
    }

    /// As [`ReadbackRing::start`], for `bytes` bytes of `tensor` from `offset` on, both multiples of 4.
    pub fn start_part(&mut self, store: &Store, tensor: Tensor, offset: u64, bytes: u64) -> Readback {
        assert!(bytes <= self.bytes, "a read of {bytes} passes the ring's {}", self.bytes);
        assert!(offset + bytes <= tensor.size, "a read stays within its tensor");
        let buffer = self.staging[self.next].raw.clone();
        self.next = (self.next + 1) % self.staging.len();

        let mut encoder =
            self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(store.buffer(tensor), tensor.offset + offset, &buffer, 0, bytes);
        let submission = self.gpu.submit(encoder);
        let (sender, mapped) = oneshot::channel();
        buffer.map_async(wgpu::MapMode::Read, 0..bytes, move |result| {
            // The receiver is gone only where the run was given up, and then nobody asks.
            let _ = sender.send((result, Instant::now()));
        });
        Readback { buffer, bytes, submission, mapped }
    }

    /// Waits for `readback` and returns its values.
    pub async fn finish<T: bytemuck::Pod>(&self, readback: Readback) -> Result<Vec<T>> {
        self.finish_timed(readback).await.map(|(values, _)| values)
    }

    /// Waits for `readback` and returns its values and when they had arrived, which may be long ago.
    pub async fn finish_timed<T: bytemuck::Pod>(&self, readback: Readback) -> Result<(Vec<T>, Instant)> {
        let Readback { buffer, bytes, submission, mapped } = readback;
        let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout: None };
        if let Err(error) = self.gpu.device().poll(wait) {
            bail!(DeviceLost, "waiting for the GPU failed: {error}");
        }
        let arrived = match mapped.await {
            Ok((Ok(()), arrived)) => arrived,
            _ => {
                self.gpu.check()?;
                bail!(DeviceLost, "the GPU's answer could not be read; the device was probably lost");
            }
        };
        // Whatever is wrong, the buffer is unmapped: one that stayed mapped could not be used again.
        let values = self.gpu.check().and_then(|()| match buffer.get_mapped_range(0..bytes) {
            Ok(view) => Ok(bytemuck::pod_collect_to_vec(&view)),
            Err(error) => bail!(Internal, "a mapped buffer could not be read: {error}"),
        });
        buffer.unmap();
        Ok((values?, arrived))
    }

    /// Reads `tensor` once, waiting for it.
    pub async fn read<T: bytemuck::Pod>(gpu: &Gpu, store: &Store, tensor: Tensor) -> Result<Vec<T>> {
        let mut ring = ReadbackRing::new(gpu, tensor.size, 1);
        let readback = ring.start(store, tensor);
        ring.finish(readback).await
    }
}
