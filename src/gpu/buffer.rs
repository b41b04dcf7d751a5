//! Buffers of a GPU.

use super::device::Gpu;

/// A wgpu buffer whose bytes are counted while it lives.
pub(crate) struct Buffer {
    pub(super) raw: wgpu::Buffer,
    size: u64,
    gpu: Gpu,
}

/// What every buffer of tensors may be used for.
const TENSOR_USAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_DST).union(wgpu::BufferUsages::COPY_SRC);

impl Buffer {
    /// One for tensors, zero at first.
    pub(crate) fn for_tensors(gpu: &Gpu, label: &str, size: u64) -> Self {
        Buffer::new(gpu, label, size, TENSOR_USAGE)
    }

    pub(super) fn new(gpu: &Gpu, label: &str, size: u64, usage: wgpu::BufferUsages) -> Self {
        let raw = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        });
        gpu.counters().buffer_made(size);
        Buffer { raw, size, gpu: gpu.clone() }
    }

    /// Writes `bytes` at `offset`, both multiples of 4, after all work submitted so far.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) {
        self.gpu.queue().write_buffer(&self.raw, offset, bytes);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.raw.destroy();
        self.gpu.counters().buffer_freed(self.size);
    }
}
