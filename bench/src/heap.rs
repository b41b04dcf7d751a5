//! The host's heap, where the program counts it: natively, by an allocator that counts and leaves the rest to the system.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static NOW: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

/// Counts bytes; a program makes it its global allocator.
pub struct Counting;

// SAFETY: all is done by the system's allocator; only sizes are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let bytes = layout.size() as u64;
        PEAK.fetch_max(NOW.fetch_add(bytes, Relaxed) + bytes, Relaxed);
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size() as u64, Relaxed);
        // SAFETY: the caller's own promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Forgets the peak so far.
pub fn begin() {
    PEAK.store(NOW.load(Relaxed), Relaxed);
}

/// The most bytes since; `None` where the program does not count.
pub fn peak() -> Option<u64> {
    Some(PEAK.load(Relaxed)).filter(|&bytes| bytes > 0)
}
