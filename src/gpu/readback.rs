//! Brings values from the GPU to the host without stalling what comes next.

use futures_channel::oneshot;
use web_time::Instant;

use super::buffer::Buffer;
use super::device::Gpu;
use crate::bail;
use crate::error::Result;

/// A few staging buffers in turn: the values of one step are read while the next one runs.
pub(crate) struct Staging {
    gpu: Gpu,
    staging: Vec<Buffer>,
    next: usize,
}

/// Values on their way to the host.
pub(crate) struct Readback {
    buffer: wgpu::Buffer,
    bytes: u64,
    submission: wgpu::SubmissionIndex,
    mapped: oneshot::Receiver<(std::result::Result<(), wgpu::BufferAsyncError>, Instant)>,
}

impl Staging {
    /// Room for reads of at most `bytes` (a multiple of 8), of which `depth` may be under way at once.
    pub(crate) fn new(gpu: &Gpu, bytes: u64, depth: usize) -> Self {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = (0..depth).map(|_| Buffer::new(gpu, "staging", bytes, usage)).collect();
        Staging { gpu: gpu.clone(), staging, next: 0 }
    }

    /// Starts reading `bytes` bytes of `from` from `offset` on, both multiples of 4, as they are after all work
    /// submitted so far. The read that used this place `depth` calls ago must have been awaited.
    pub(crate) fn start(&mut self, from: &Buffer, offset: u64, bytes: u64) -> Readback {
        let buffer = self.staging[self.next].raw.clone();
        self.next = (self.next + 1) % self.staging.len();

        let mut encoder =
            self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&from.raw, offset, &buffer, 0, bytes);
        let submission = self.gpu.submit(encoder);
        let (sender, mapped) = oneshot::channel();
        buffer.map_async(wgpu::MapMode::Read, 0..bytes, move |result| {
            // The receiver is gone only where the run was given up, and then nobody asks.
            let _ = sender.send((result, Instant::now()));
        });
        Readback { buffer, bytes, submission, mapped }
    }

    /// Waits for `readback` and returns its values and when they had arrived, which may be long ago.
    pub(crate) async fn finish<T: bytemuck::Pod>(&self, readback: Readback) -> Result<(Vec<T>, Instant)> {
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
}
