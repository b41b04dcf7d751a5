//! Where workers wait for one another.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::Line;

/// How often a worker looks before it lies down: for some 60 µs, about as long as to be woken takes. What others still
/// have in hand mostly ends sooner, but a worker that the system has taken off its core may be away for long.
const LOOKS: u32 = 50_000;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    /// Sleeps for as long as there is that value at the address and nobody wakes those that sleep there.
    safe fn sleep(address: &AtomicU32, value: u32);
    /// Wakes all that sleep at an address.
    safe fn wake(address: &AtomicU32);
}

/// A barrier that can be passed again and again. All zeros at first.
#[repr(C)]
pub struct Barrier {
    arrived: Line,
    /// How often it was passed.
    generation: Line,
    sleepers: Line,
    /// 1 once nobody is to wait any more.
    open: Line,
}

impl Barrier {
    /// Waits for all workers. The last one does `prepare` before it lets them go.
    pub fn pass(&self, workers: u32, prepare: impl FnOnce()) {
        let generation = self.generation.0.load(Ordering::Relaxed);
        if self.arrived.0.fetch_add(1, Ordering::AcqRel) + 1 == workers {
            prepare();
            self.arrived.0.store(0, Ordering::Relaxed);
            self.generation.0.store(generation.wrapping_add(1), Ordering::SeqCst);
            if self.sleepers.0.load(Ordering::SeqCst) > 0 {
                wake(&self.generation.0);
            }
            return;
        }
        let is_closed = || self.generation.0.load(Ordering::SeqCst) == generation && !self.is_open();
        if !(0..LOOKS).any(|_| !is_closed()) {
            // Either the last one sees this sleeper, or the sleeper sees that it was let go.
            self.sleepers.0.fetch_add(1, Ordering::SeqCst);
            while is_closed() {
                sleep(&self.generation.0, generation);
            }
            self.sleepers.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    /// Lets everybody go for good.
    pub fn open(&self) {
        self.open.0.store(1, Ordering::SeqCst);
        // Who is just about to sleep finds another value there than it looked for.
        self.generation.0.fetch_add(1, Ordering::SeqCst);
        wake(&self.generation.0);
    }

    pub fn is_open(&self) -> bool {
        self.open.0.load(Ordering::Relaxed) != 0
    }
}
