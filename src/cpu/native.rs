//! The machine natively: threads on the process's own memory. What is asked of it is done when it returns.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::RefCell;
use std::slice;

use rayon::prelude::*;
use tabtune_cpu::{Call, Level, SCRATCH};

use super::Cpu;
use crate::bail;
use crate::error::{Code, Error, Result};

/// What vectors and cache lines want of an address.
const ALIGNMENT: usize = 64;

thread_local! {
    static PANELS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

pub(super) struct Machine {
    level: Level,
    threads: rayon::ThreadPool,
}

impl Cpu {
    /// Opens the processor with so many workers, or one for each core.
    pub fn open(workers: Option<usize>) -> Result<Self> {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(workers.unwrap_or(0)).build();
        let threads = threads.map_err(|error| Error::new(Code::Internal, format!("no threads: {error}")))?;
        Ok(Cpu::on(Machine { level: Level::best(), threads }))
    }
}

impl Machine {
    pub fn workers(&self) -> usize {
        self.threads.current_num_threads()
    }

    pub fn flavour(&self) -> &'static str {
        self.level.name()
    }

    /// Each worker has its panels.
    pub fn own_bytes(&self) -> u64 {
        (self.workers() * size_of::<[f32; SCRATCH]>()) as u64
    }

    pub fn reserved_bytes(&self) -> Option<u64> {
        None
    }

    /// The address of so many bytes, zero at first.
    pub fn allocate(&self, bytes: u64) -> Result<u64> {
        // SAFETY: The layout has a size.
        let start = unsafe { alloc_zeroed(layout(bytes)) };
        if start.is_null() {
            bail!(OutOfMemory, "the machine has no {bytes} bytes of memory left");
        }
        Ok(start as u64)
    }

    /// Takes back what [`Machine::allocate`] gave for so many bytes.
    pub fn free(&self, address: u64, bytes: u64) {
        // SAFETY: It was allocated with this layout, and its owner is gone.
        unsafe { dealloc(address as *mut u8, layout(bytes)) };
    }

    /// Writes `bytes` into what [`Machine::allocate`] gave.
    pub fn write(&self, address: u64, bytes: &[u8]) {
        // SAFETY: The caller stays within an allocation, and no call runs now.
        unsafe { slice::from_raw_parts_mut(address as *mut u8, bytes.len()) }.copy_from_slice(bytes);
    }

    /// Runs `count` calls that lie at `list`.
    pub fn start(&self, list: u64, count: usize) {
        // SAFETY: A workspace laid as many calls there.
        let calls = Shared(unsafe { slice::from_raw_parts(list as *const Call, count) });
        self.threads.install(|| calls.get().iter().for_each(|call| run(self.level, call)));
    }

    /// What lies there now.
    pub fn read(&self, address: u64, bytes: usize) -> impl Future<Output = Result<Vec<u8>>> + use<> {
        // SAFETY: The caller stays within an allocation, and no call runs now.
        let read = unsafe { slice::from_raw_parts(address as *const u8, bytes) }.to_vec();
        async { Ok(read) }
    }

    pub async fn idle(&self) -> Result<()> {
        Ok(())
    }
}

/// Runs the tasks of a call on the pool that this runs in.
fn run(level: Level, call: &Call) {
    // SAFETY: A workspace made the call of tensors that it keeps.
    let tasks = unsafe { tabtune_cpu::tasks(call) };
    let calls = Shared(slice::from_ref(call));
    let task = |task| {
        PANELS.with_borrow_mut(|panels| {
            panels.resize(SCRATCH, 0.0);
            // SAFETY: As above; each task runs once, and calls run one after another.
            unsafe { tabtune_cpu::run(level, &calls.get()[0], task, panels) };
        });
    };
    match tasks {
        1 => task(0),
        _ => (0..tasks).into_par_iter().with_max_len(1).for_each(task),
    }
}

/// Calls that threads share: their pointers lead to what the tasks of each divide among them.
struct Shared<'a>(&'a [Call]);

// SAFETY: Tasks of a call write disjoint places and read what none of them writes, which is the kernels' contract.
unsafe impl Sync for Shared<'_> {}

impl Shared<'_> {
    fn get(&self) -> &[Call] {
        self.0
    }
}

fn layout(bytes: u64) -> Layout {
    Layout::from_size_align(bytes.max(1) as usize, ALIGNMENT).expect("memory has fewer bytes than addresses")
}
