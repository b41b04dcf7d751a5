//! What the tiled kernels are for, held by ratios within one race: absolute times would not hold on
//! another machine. The margins leave room for one that does other work.

use tabtune::device::Device;
use tabtune::kernels::linear::Tile;
use tabtune_bench::ratios::{DEVICES, Speeds, difference, measure, median};

/// M, N and K.
const SIZE: [usize; 3] = [256, 1024, 1024];

fn with_gpu<T>(work: impl AsyncFnOnce(&Device, Tile) -> tabtune::error::Result<T>) -> T {
    pollster::block_on(async {
        let device = Device::open().await.expect("the tests need a GPU; install lavapipe");
        let tile = Tile::for_adapter(device.summary());
        work(&device, tile).await.expect("the measurement runs")
    })
}

#[test]
fn the_naive_kernels_compute_the_same_products() {
    let differences = with_gpu(async |device, tile| difference(device, tile, [40, 72, 128]).await);
    assert!(differences.iter().all(|&difference| difference < 1e-5), "they differ by {differences:?}");
}

#[test]
fn nf4_keeps_up_with_f32_backward_with_forward_and_both_leave_naive_kernels_behind() {
    let tile = with_gpu(async |_, tile| Ok(tile));
    let speeds = pollster::block_on(measure(tile, SIZE, DEVICES)).expect("the measurement runs");
    let median = |ratio: fn(&Speeds) -> Option<f64>| median(&speeds, ratio);
    for (what, ratio, least) in [
        ("NF4 over f32, forward", median(|speeds| Some(speeds.nf4_of_f32()[0])), 0.7),
        ("NF4 over f32, backward", median(|speeds| Some(speeds.nf4_of_f32()[1])), 0.7),
        ("backward over forward", median(|speeds| Some(speeds.backward_of_forward())), 0.7),
        ("tiled over naive, forward", median(|speeds| speeds.tiled_of_naive().map(|pair| pair[0])), 4.0),
        ("tiled over naive, backward", median(|speeds| speeds.tiled_of_naive().map(|pair| pair[1])), 4.0),
    ] {
        println!("{what}: {ratio:.2}");
        assert!(ratio >= least, "{what} is {ratio:.2}, below {least}; of {speeds:?}");
    }
}
