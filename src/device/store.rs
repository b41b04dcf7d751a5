//! The tensors that outlive a step: weights, adapter, optimiser state, inputs.

use super::{Buffer, Device};
use crate::error::{Code, Error, Result};
use crate::memory::{Class, Place, Tensor};

/// Holds every kept tensor, each in a buffer of its own.
///
/// Without a device it only counts: the same code that allocates then answers "will it fit?".
pub struct Store {
    device: Option<Device>,
    tensors: Vec<Kept>,
    /// Bytes that one tensor may have.
    max_binding: u64,
    /// See [`Store::max_weight`].
    max_weight: u64,
    /// See [`Store::device_bytes`].
    device_bytes: u64,
}

struct Kept {
    class: Class,
    size: u64,
    buffer: Option<Buffer>,
}

impl Store {
    /// A store whose tensors live on `device`.
    pub fn new(device: &Device) -> Self {
        Store { device: Some(device.clone()), ..Store::planned_on(device) }
    }

    /// A store that counts bytes as one on `device` would, and holds none.
    pub fn planned_on(device: &Device) -> Self {
        Store { device_bytes: device.own_bytes(), ..Store::planned(device.max_binding()) }
    }

    /// A store that counts bytes and holds none, for a device whose bindings have at most `max_binding` bytes.
    pub fn planned(max_binding: u64) -> Self {
        Store { device: None, tensors: Vec::new(), max_binding, max_weight: max_binding, device_bytes: 0 }
    }

    /// The same store, for weights that are cut above `bytes`.
    pub fn with_max_weight(self, bytes: u64) -> Self {
        Store { max_weight: bytes.min(self.max_binding), ..self }
    }

    /// The bytes that its device takes before any tensor is made.
    pub fn device_bytes(&self) -> u64 {
        self.device_bytes
    }

    /// The most bytes of a tensor.
    pub fn max_binding(&self) -> u64 {
        self.max_binding
    }

    /// The bytes above which the weight of a linear layer is cut: those of a binding, unless asked otherwise.
    pub fn max_weight(&self) -> u64 {
        self.max_weight
    }

    /// Whether it only counts, so that nothing has to be read for it.
    pub fn is_planned(&self) -> bool {
        self.device.is_none()
    }

    /// A tensor of `elements` 4-byte values, zero at first.
    ///
    /// A tensor over the limit of one binding is `out-of-memory`, naming it and its size.
    pub fn keep(&mut self, class: Class, label: &str, elements: usize) -> Result<Tensor> {
        let size = (elements as u64 * 4).max(16);
        if size > self.max_binding {
            let message = format!("{label} takes {size} bytes, and one buffer holds {}", self.max_binding);
            return Err(Error::new(Code::OutOfMemory, message));
        }
        let buffer = self.device.as_ref().map(|device| Buffer::new(device, label, size)).transpose()?;
        self.tensors.push(Kept { class, size, buffer });
        Ok(Tensor { place: Place::Kept(self.tensors.len() as u32 - 1), offset: 0, size })
    }

    /// The number of tensors now; [`Store::truncate`] takes it back to this point.
    pub fn mark(&self) -> usize {
        self.tensors.len()
    }

    /// Frees every tensor made since `mark`.
    pub fn truncate(&mut self, mark: usize) {
        self.tensors.truncate(mark);
    }

    /// The bytes of one class.
    pub fn bytes(&self, class: Class) -> u64 {
        self.tensors.iter().filter(|kept| kept.class == class).map(|kept| kept.size).sum()
    }

    /// Writes `values` at the start of `tensor`. A store that only plans ignores it.
    pub fn write<T: bytemuck::Pod>(&self, tensor: Tensor, values: &[T]) {
        self.write_at(tensor, 0, values);
    }

    /// Writes `values` at `offset` bytes (a multiple of 4) into `tensor`.
    pub fn write_at<T: bytemuck::Pod>(&self, tensor: Tensor, offset: u64, values: &[T]) {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        assert!(offset + bytes.len() as u64 <= tensor.size, "a write stays within its tensor");
        if self.device.is_some() {
            self.buffer(tensor).write(tensor.offset + offset, bytes);
        }
    }

    /// Writes zeros over all of `tensor`.
    pub fn clear(&self, tensor: Tensor) {
        const PIECE: u64 = 1 << 20;
        let zeros = vec![0u8; PIECE.min(tensor.size) as usize];
        for at in (0..tensor.size).step_by(PIECE as usize) {
            self.write_at(tensor, at, &zeros[..PIECE.min(tensor.size - at) as usize]);
        }
    }

    pub(super) fn buffer(&self, tensor: Tensor) -> &Buffer {
        let Place::Kept(index) = tensor.place else { panic!("a transient tensor is not in the store") };
        self.tensors[index as usize].buffer.as_ref().expect("a planned store has no buffers")
    }
}
