//! One GPU device for all sessions of a test: its pipelines, whose compiling takes longer than what they compute
//! here, are made once.

use std::cell::OnceCell;
use std::mem::ManuallyDrop;

use tabtune::device::Device;

thread_local! {
    // wgpu's own thread locals may be gone when this one is dropped, so it never is.
    static DEVICE: OnceCell<ManuallyDrop<Device>> = const { OnceCell::new() };
}

/// The machine's adapter, without which the tests fail.
pub fn gpu() -> Device {
    DEVICE.with(|device| {
        let open = || pollster::block_on(Device::open()).expect("the tests need a GPU; install lavapipe");
        Device::clone(device.get_or_init(|| ManuallyDrop::new(open())))
    })
}
