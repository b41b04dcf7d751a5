//! Counts of what a device made and did, so that tests can hold the step loop to "nothing new".

use std::cell::Cell;
use std::rc::Rc;

/// Counts since the device was made. Cloning shares the counts.
#[derive(Clone, Debug, Default)]
pub struct Counters(Rc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    buffers: Cell<u64>,
    buffer_bytes: Cell<u64>,
    peak_buffer_bytes: Cell<u64>,
    pipelines: Cell<u64>,
    bind_groups: Cell<u64>,
    dispatches: Cell<u64>,
    bound_bytes: Cell<u64>,
    submits: Cell<u64>,
}

fn add(cell: &Cell<u64>, amount: u64) {
    cell.set(cell.get() + amount);
}

impl Counters {
    /// Buffers alive now.
    pub fn buffers(&self) -> u64 {
        self.0.buffers.get()
    }

    /// Bytes of the buffers alive now.
    pub fn buffer_bytes(&self) -> u64 {
        self.0.buffer_bytes.get()
    }

    /// The most bytes that were alive at once.
    pub fn peak_buffer_bytes(&self) -> u64 {
        self.0.peak_buffer_bytes.get()
    }

    /// Pipelines made so far.
    pub fn pipelines(&self) -> u64 {
        self.0.pipelines.get()
    }

    /// Bind groups made so far.
    pub fn bind_groups(&self) -> u64 {
        self.0.bind_groups.get()
    }

    /// Dispatches encoded so far.
    pub fn dispatches(&self) -> u64 {
        self.0.dispatches.get()
    }

    /// Bytes of the tensors that the dispatches so far had bound, each once a dispatch: what they move
    /// where every value is read or written once. Tables that are read in part count as a whole.
    pub fn bound_bytes(&self) -> u64 {
        self.0.bound_bytes.get()
    }

    /// Submits to the queue so far.
    pub fn submits(&self) -> u64 {
        self.0.submits.get()
    }

    pub(crate) fn buffer_made(&self, bytes: u64) {
        add(&self.0.buffers, 1);
        add(&self.0.buffer_bytes, bytes);
        self.0.peak_buffer_bytes.set(self.peak_buffer_bytes().max(self.buffer_bytes()));
    }

    pub(crate) fn buffer_freed(&self, bytes: u64) {
        self.0.buffers.set(self.buffers() - 1);
        self.0.buffer_bytes.set(self.buffer_bytes() - bytes);
    }

    pub(crate) fn pipeline_made(&self) {
        add(&self.0.pipelines, 1);
    }

    pub(crate) fn bind_group_made(&self) {
        add(&self.0.bind_groups, 1);
    }

    pub(crate) fn dispatched(&self, bytes: u64) {
        add(&self.0.dispatches, 1);
        add(&self.0.bound_bytes, bytes);
    }

    pub(crate) fn submitted(&self) {
        add(&self.0.submits, 1);
    }
}
