//! The processor, open as a device.

use std::rc::Rc;

use super::Machine;
use crate::error::Result;
use crate::memory::Counters;

/// The processor with its workers. Cloning shares it.
#[derive(Clone)]
pub struct Cpu(Rc<Inner>);

struct Inner {
    machine: Machine,
    counters: Counters,
}

impl Cpu {
    pub(super) fn on(machine: Machine) -> Self {
        let counters = Counters::default();
        counters.buffer_made(machine.own_bytes());
        Cpu(Rc::new(Inner { machine, counters }))
    }

    /// The workers that share its tasks.
    pub fn workers(&self) -> usize {
        self.machine().workers()
    }

    /// The instructions that it computes with, which decide over last bits.
    pub fn flavour(&self) -> &'static str {
        self.machine().flavour()
    }

    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// The bytes that the workers compute in, whatever they compute.
    pub fn own_bytes(&self) -> u64 {
        self.machine().own_bytes()
    }

    /// The bytes of the kernels' memory, handed out or not; `None` natively, where it is the process's.
    pub fn reserved_bytes(&self) -> Option<u64> {
        self.machine().reserved_bytes()
    }

    pub(super) fn machine(&self) -> &Machine {
        &self.0.machine
    }

    /// Waits until all that was started is done.
    pub async fn idle(&self) -> Result<()> {
        self.machine().idle().await
    }
}
