//! The GPU's own clock says what the wall clock says, where a kernel is long enough for the wall clock.

use tabtune::device::Device;
use tabtune::format::WeightFormat;
use tabtune::kernels::linear::{self, Params, Tile};
use tabtune_bench::arena::Arena;
use tabtune_bench::timing::Competitor;

#[test]
fn stamps_agree_with_the_wall_clock() {
    let ratio = pollster::block_on(async {
        let device = Device::open().await.expect("the tests need a GPU; install lavapipe");
        if !device.summary().has_timestamps {
            return 1.0;
        }
        let (m, n, k) = (256, 2048, 1024);
        let mut arena = Arena::new(&device);
        let weight = arena.weight(WeightFormat::Nf4, n, k).expect("the weight fits");
        let x = arena.values(m * k).expect("the input fits");
        let y = arena.empty(m * n).expect("the output fits");
        let tile = Tile::for_adapter(device.summary());
        let record = |rec: &mut _| linear::forward(rec, Params::plain(m, n, k), x, weight, None, None, y);
        let kernel = Competitor::new(&device, &arena.store, tile, record).await;
        let kernel = kernel.expect("the recording can be made");
        // The first runs compile.
        kernel.wall_seconds(&device, 2).await;
        let mut ratios = Vec::new();
        for _ in 0..7 {
            ratios.push(kernel.gpu_seconds(8).await / kernel.wall_seconds(&device, 8).await);
        }
        ratios.sort_by(f64::total_cmp);
        println!("stamped over wall: {ratios:.3?}");
        ratios[3]
    });
    assert!((0.6..1.2).contains(&ratio), "stamps give {ratio:.2} of the wall clock's seconds");
}
