//! The peers' step gives the losses that PyTorch gives in f32.

use tabtune::device::Device;
use tabtune_bench::options::Base;
use tabtune_bench::peer;
use tabtune_bench::shapes::SHAPES;
use tabtune_bench::work::Work;

#[test]
fn the_tiny_step_has_the_losses_of_pytorch() {
    pollster::block_on(async {
        let device = Device::open().await.expect("the tests need a GPU; install lavapipe");
        let shape = SHAPES.iter().find(|shape| shape.name == "tiny").expect("there is a tiny shape");
        let work = Work::new(shape).expect("the work is well formed");
        let run = peer::steps(device, &work, Base::F32).await.expect("seven steps run");
        // PyTorch 2.15, f32, on the CPU.
        for (loss, expected) in [(run.losses[0], 7.66157), (run.losses[6], 7.59835)] {
            assert!((loss - expected).abs() < 2e-5, "the loss is {loss}, not {expected}");
        }
    });
}
