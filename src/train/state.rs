//! The values of a run on the GPU, for those who save and restore them.

use super::saved::{PIECE_BYTES, State, TensorShape};
use super::step::Method;
use crate::device::{Device, ReadbackRing, Store};
use crate::error::Result;
use crate::memory::Tensor;
use crate::model::{Parameters, Segment};

/// Tensors of a [`Store`] by name.
pub struct StoreState<'a> {
    device: &'a Device,
    store: &'a Store,
    tensors: Vec<(String, Tensor)>,
    /// Made when something is read.
    ring: Option<ReadbackRing>,
}

impl<'a> StoreState<'a> {
    /// No values at all.
    pub fn empty(device: &'a Device, store: &'a Store) -> Self {
        StoreState { device, store, tensors: Vec::new(), ring: None }
    }

    /// The parameters of each segment and what the method keeps of them, then what it keeps of matrices, then the parameters
    /// that do not learn.
    pub(super) fn new(
        device: &'a Device,
        store: &'a Store,
        parameters: &Parameters,
        method: &dyn Method,
    ) -> Self {
        let of_segment = |(index, segment): (usize, &Segment)| {
            let mut tensors = vec![("parameters", segment.param)];
            tensors.extend(method.kept(index));
            let name = segment.name.clone();
            tensors.into_iter().map(move |(what, tensor)| (format!("{name}.{what}"), tensor))
        };
        let of_segments = parameters.segments().iter().enumerate().flat_map(of_segment);
        let frozen = parameters.frozen_segments().iter();
        let of_frozen = frozen.map(|segment| (format!("{}.parameters", segment.name), segment.param));
        let tensors = of_segments.chain(method.kept_of_matrices()).chain(of_frozen).collect();
        StoreState { device, store, tensors, ring: None }
    }
}

impl State for StoreState<'_> {
    fn tensors(&self) -> Vec<TensorShape> {
        let shape =
            |(name, tensor): &(String, Tensor)| TensorShape { name: name.clone(), values: tensor.size() / 4 };
        self.tensors.iter().map(shape).collect()
    }

    async fn read(&mut self, tensor: usize, first: u64, count: usize) -> Result<Vec<u8>> {
        let largest = || self.tensors.iter().map(|(_, tensor)| tensor.size()).max().unwrap_or(0);
        let ring = self
            .ring
            .get_or_insert_with(|| ReadbackRing::new(self.device, largest().min(PIECE_BYTES as u64), 1));
        let readback = ring.start_part(self.store, self.tensors[tensor].1, 4 * first, 4 * count as u64);
        ring.finish(readback).await
    }

    fn write(&mut self, tensor: usize, first: u64, values: &[u8]) {
        self.store.write_at(self.tensors[tensor].1, 4 * first, values);
    }
}
