//! The kernels as a WebAssembly module, of which each worker has an instance on one memory that they share.
//!
//! The engine lays lists of calls into that memory and tells the workers. They go through a list together: the tasks of
//! a call are taken one by one from a counter, and a barrier stands between a call and the next. Who has no workers goes
//! through a list alone, a slice at a time.
//!
//! The memory is always a shared one, because browsers have those without cross-origin isolation as well, as long as no
//! other thread is to see them. So one module serves workers and those that have none.

#![cfg(target_arch = "wasm32")]
#![no_std]

mod barrier;

use core::slice;
use core::sync::atomic::{AtomicU32, Ordering};

use barrier::Barrier;
use tabtune_cpu::{Call, Level, SCRATCH, run, tasks};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    /// The time in milliseconds.
    safe fn now() -> f64;
}

/// A value on a cache line of its own, which workers would otherwise take from each other.
#[repr(align(64))]
struct Line(AtomicU32);

/// What the workers of one memory share. All zeros at first.
#[repr(C)]
pub struct Control {
    /// The next task of the call in hand.
    next: Line,
    barrier: Barrier,
}

/// How far a list that one goes through alone has come. All zeros at its start.
#[repr(C)]
pub struct Cursor {
    call: u32,
    task: u32,
}

/// The bytes of a [`Control`].
#[unsafe(no_mangle)]
pub extern "C" fn control_bytes() -> usize {
    size_of::<Control>()
}

/// The bytes of scratch that each worker has.
#[unsafe(no_mangle)]
pub extern "C" fn scratch_bytes() -> usize {
    size_of::<[f32; SCRATCH]>()
}

/// Has all workers leave the list they work on, and each one after it, as soon as their tasks in hand are done.
#[unsafe(no_mangle)]
pub extern "C" fn stop(control: &Control) {
    control.barrier.open();
}

/// Does a worker's part of the calls in a list; it returns when all workers have done theirs, or by [`stop`].
///
/// # Safety
///
/// The list is valid, as [`run`] asks for, and all `workers` are given the same. The scratch is the worker's own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn work(
    list: *const Call,
    count: usize,
    control: &Control,
    workers: u32,
    scratch: *mut f32,
) {
    // SAFETY: The caller promises both.
    let (calls, scratch) =
        unsafe { (slice::from_raw_parts(list, count), slice::from_raw_parts_mut(scratch, SCRATCH)) };
    let mut rest = calls;
    while let Some((call, others)) = rest.split_first() {
        // SAFETY: The caller promises that the calls are valid.
        let tasks_of = |call: &Call| unsafe { tasks(call) };
        // SAFETY: The counter gives each task once, and the barrier keeps other calls away.
        let mut run = |call: &Call, task| unsafe { run(Level::best(), call, task, scratch) };
        let tasks = tasks_of(call);
        // Calls of one task that follow one another are done by one worker, which needs no barrier between them.
        let singles =
            if tasks == 1 { others.iter().take_while(|call| tasks_of(call) == 1).count() } else { 0 };
        let (singles, others) = others.split_at(singles);
        loop {
            let task = control.next.0.fetch_add(1, Ordering::Relaxed);
            if task >= tasks || control.barrier.is_open() {
                break;
            }
            run(call, task);
            singles.iter().for_each(|call| run(call, 0));
        }
        // Who comes last found no task left, as all others did, so nobody counts until they are let go.
        control.barrier.pass(workers, || control.next.0.store(0, Ordering::Relaxed));
        if control.barrier.is_open() {
            return;
        }
        rest = others;
    }
}

/// Goes on with a list alone until it is through, which it returns, or the time has come. One task is the least.
///
/// # Safety
///
/// As for [`work`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn advance(
    list: *const Call,
    count: usize,
    cursor: &mut Cursor,
    until: f64,
    scratch: *mut f32,
) -> bool {
    // SAFETY: The caller promises both.
    let (calls, scratch) =
        unsafe { (slice::from_raw_parts(list, count), slice::from_raw_parts_mut(scratch, SCRATCH)) };
    while let Some(call) = calls.get(cursor.call as usize) {
        // SAFETY: The caller promises that the call is valid.
        let tasks = unsafe { tasks(call) };
        while cursor.task < tasks {
            // SAFETY: The cursor gives each task once.
            unsafe { run(Level::best(), call, cursor.task, scratch) };
            cursor.task += 1;
            if now() >= until {
                return false;
            }
        }
        *cursor = Cursor { call: cursor.call + 1, task: 0 };
    }
    true
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
