//! The tuner: only variants that agree with the twin are chosen, the fastest of them is, and what was
//! found is found again.

use serde_json::json;
use std::rc::Rc;
use tabtune::data::import::import_file;
use tabtune::data::kv::MemoryKv;
use tabtune::data::library::ImportOptions;
use tabtune::device::Device;
use tabtune::error::{Code, Result};
use tabtune::files::Directory;
use tabtune::format::WeightFormat;
use tabtune::kernels;
use tabtune::kernels::linear::Tile;
use tabtune::kernels::tiles::{Choice, Direction, Product, Shape, Tiles};
use tabtune::session::{PrepareOptions, Session};
use tabtune::tune::{self, Tuning};

fn with_gpu(work: impl AsyncFnOnce(Device)) {
    pollster::block_on(async {
        work(Device::open().await.expect("the tests need a GPU; install lavapipe")).await;
    });
}

const NF4: Shape = Shape { cols: 192, depth: 256, format: WeightFormat::Nf4 };
const F32: Shape = Shape { cols: 72, depth: 64, format: WeightFormat::F32 };

/// A layer's product, which may have any number of rows.
fn layer(shape: Shape) -> Product {
    Product { shape, most_rows: u32::MAX }
}

async fn tuned(device: &Device, shapes: &[Shape], candidates: &[Tile], budget: f64) -> Tuning {
    let products: Vec<Product> = shapes.iter().copied().map(layer).collect();
    tuned_products(device, &products, candidates, budget).await.expect("tuning runs")
}

async fn tuned_products(
    device: &Device,
    products: &[Product],
    candidates: &[Tile],
    budget: f64,
) -> Result<Tuning> {
    let mut tuning = Tuning::new(device.summary());
    tune::tune(device, products, candidates, budget, &mut tuning).await?;
    Ok(tuning)
}

/// Makes a product of a tile with f32 weights wrong by one part in a thousand: no failure that anybody
/// would see in a loss.
fn spoil(device: &Device, direction: &str, tile: Tile) {
    let name = format!("linear_{direction}.{}.f32", tile.name());
    let text = kernels::shaders::text(&name).expect("there is such a variant");
    let wrong = text.replace("*= params.scale", "*= params.scale * 1.001");
    assert_ne!(text, wrong);
    device.gpu().expect("it is one").add_shader(&name, wrong);
}

/// Enough for every candidate here on a slow machine.
const AMPLE_SECONDS: f64 = 300.0;

#[test]
fn every_variant_agrees_with_the_twin() {
    with_gpu(async |device| {
        // Mesa's CPU adapter takes seconds to compile a tile; tests/kernels has the others.
        let own = [Tile::for_adapter(device.summary())];
        let tiles = if device.summary().is_software { &own[..] } else { &Tile::ALL };
        let pairs = tiles.iter().flat_map(|&tile| WeightFormat::ALL.map(|format| (tile, format)));
        let found = tune::check_all(&device, pairs).await.expect("the check runs");
        let variants = tiles
            .iter()
            .filter(|tile| tile.runs_on(device.summary()))
            .map(|tile| WeightFormat::ALL.into_iter().filter(|&it| tile.suits(it)).count());
        assert_eq!(found.len(), variants.sum::<usize>() * Direction::ALL.len());
        for (tile, format, direction, agrees) in found {
            assert!(agrees, "{tile:?} {format:?} {direction:?}");
        }
    });
}

#[test]
fn a_variant_that_computes_something_else_is_rejected() {
    with_gpu(async |device| {
        spoil(&device, "forward", Tile::Shared64);
        let tiles = [Tile::Shared64, Tile::Direct];
        let tuning = tuned(&device, &[F32], &tiles, AMPLE_SECONDS).await;
        assert_eq!(tuning.rejected, [(Tile::Shared64, WeightFormat::F32, Direction::Forward)]);
        let forward = |choice: &&Choice| choice.direction == Direction::Forward;
        let chosen: Vec<Tile> =
            tuning.tiles.choices.iter().filter(forward).map(|choice| choice.tile).collect();
        assert_eq!(chosen, [Tile::Direct, Tile::Direct]);
    });
}

#[test]
fn a_default_that_computes_something_else_is_replaced_even_without_time() {
    with_gpu(async |device| {
        let default = Tile::for_adapter(device.summary());
        spoil(&device, "backward", default);
        // The first would round, and the second decode whatever comes.
        let candidates = [Tile::Half64, Tile::Decoded64, default, Tile::Shared128];
        let tuning = tuned(&device, &[NF4], &candidates, 0.0).await;
        assert_eq!(tuning.rejected, [(default, WeightFormat::F32, Direction::Backward)]);
        assert_eq!(tuning.tiles, Tiles::from(Tile::Shared128));

        let failed = tuned_products(&device, &[layer(NF4)], &[default], 0.0).await;
        let error = failed.expect_err("no tile is left");
        assert_eq!(error.code, Code::Internal);
        assert!(error.message.contains("computes matrix products wrongly"), "{error}");
    });
}

#[test]
fn a_head_is_timed_in_part_and_only_at_rows_that_it_has() {
    with_gpu(async |device| {
        // 512 rows of all columns would pass what one buffer holds.
        let shape = Shape { cols: 70_000, depth: 8, format: WeightFormat::F16 };
        let timed_rows = async |most_rows: u32| {
            let head = [Product { shape, most_rows }];
            let tuning = tuned_products(&device, &head, &[Tile::Direct], AMPLE_SECONDS).await;
            let choices = tuning.expect("tuning runs").tiles.choices;
            assert!(choices.iter().all(|choice| (choice.shape, choice.tile) == (shape, Tile::Direct)));
            choices.iter().map(|choice| choice.rows).collect::<Vec<u32>>()
        };
        assert_eq!(timed_rows(256).await, [512, 512, 64, 64], "blocks of 256 rows take the tile of 512");
        assert_eq!(timed_rows(248).await, [64, 64]);
        assert_eq!(timed_rows(24).await, [0u32; 0], "such blocks take the default");
    });
}

#[test]
fn tiles_of_the_other_kind_of_adapter_do_not_suit() {
    with_gpu(async |device| {
        let mut adapter = device.summary().clone();
        for (is_software, own, other) in
            [(true, Tile::Direct, Tile::Shared64), (false, Tile::Shared64, Tile::Direct)]
        {
            adapter.is_software = is_software;
            assert!(Tiles::from(own).suit(&adapter));
            assert!(!Tiles::from(other).suit(&adapter), "{other:?} runs, but not well");
        }
        adapter.subgroup_sizes = [0, 0];
        adapter.is_software = true;
        assert!(!Tiles::from(Tile::Subgroup4).suit(&adapter));
    });
}

#[test]
fn another_browser_adapter_or_product_has_a_key_of_its_own() {
    with_gpu(async |device| {
        let key = |adapter, most_rows| {
            tune::cache_key(adapter, &[Product { shape: NF4, most_rows }], &[Tile::Shared64])
        };
        let known = key(device.summary(), 512);
        assert_eq!(known, key(device.summary(), 512));
        assert_ne!(known, key(device.summary(), 64));
        let mut adapter = device.summary().clone();
        adapter.browser = "vendor|architecture|Browser/2".to_owned();
        assert_ne!(known, key(&adapter, 512));
    });
}

#[test]
fn the_fastest_is_chosen_for_every_product() {
    with_gpu(async |device| {
        let tiles = [Tile::Direct, Tile::Decoded, Tile::Shared64];
        let tuning = tuned(&device, &[NF4, F32], &tiles, AMPLE_SECONDS).await;
        assert!(tuning.complete && tuning.rejected.is_empty(), "{tuning:?}");
        assert_eq!(tuning.tiles.choices.len(), 2 * 2 * 2, "shapes, directions, numbers of rows");
        assert_eq!(tuning.timings.len(), 3 * tuning.tiles.choices.len());
        for choice in &tuning.tiles.choices {
            let of_product = tuning.timings.iter().filter(|(timed, _)| {
                (timed.direction, timed.shape, timed.rows) == (choice.direction, choice.shape, choice.rows)
            });
            let best = of_product.min_by(|a, b| a.1.total_cmp(&b.1)).expect("a product was timed");
            assert_eq!(best.0.tile, choice.tile);
            assert!(best.1 > 0.0 && best.1 < 10.0);
        }
    });
}

#[test]
fn without_time_the_default_stays() {
    with_gpu(async |device| {
        let tuning = tuned(&device, &[NF4], &Tile::ALL, 0.0).await;
        assert!(!tuning.complete);
        assert_eq!(tuning.tiles, Tiles::from(Tile::for_adapter(device.summary())));
    });
}

#[test]
fn tuning_goes_on_where_the_time_was_up() {
    with_gpu(async |device| {
        let mut tuning = tuned(&device, &[F32], &[Tile::Direct], AMPLE_SECONDS).await;
        let found = tuning.tiles.choices.clone();
        let both = [NF4, F32].map(layer);
        tune::tune(&device, &both, &[Tile::Shared64], AMPLE_SECONDS, &mut tuning).await.expect("tuning runs");
        assert_eq!(tuning.tiles.choices[..found.len()], found, "what was chosen stays");
        assert_eq!(tuning.tiles.choices.len(), 2 * found.len());
        let added = &tuning.tiles.choices[found.len()..];
        assert!(added.iter().all(|choice| (choice.shape, choice.tile) == (NF4, Tile::Shared64)));
    });
}

#[test]
fn f16_is_for_those_who_let_it_and_for_weights_that_it_does_not_change() {
    with_gpu(async |device| {
        let mut adapter = device.summary().clone();
        adapter.is_software = false;
        assert!(adapter.has_f16, "Mesa's CPU adapter has f16");
        let half = [Tile::Half64, Tile::Half128];
        let all = tune::candidates(&adapter, true);
        assert!(half.iter().all(|tile| all.contains(tile)));
        assert!(!tune::candidates(&adapter, false).iter().any(|tile| tile.is_half()));
        adapter.has_f16 = false;
        assert_eq!(tune::candidates(&adapter, true), tune::candidates(&adapter, false));

        let tuning = tuned(&device, &[F32, NF4], &[Tile::Direct, Tile::Half64], AMPLE_SECONDS).await;
        let halves = tuning.timings.iter().filter(|(choice, _)| choice.tile == Tile::Half64);
        assert!(halves.clone().count() == 4 && halves.clone().all(|(choice, _)| choice.shape == NF4));
    });
}

#[test]
fn what_was_found_is_kept_and_trains_as_the_default_does() {
    pollster::block_on(async {
        let mut session = Session::open(Rc::new(MemoryKv::default())).await.expect("an adapter");
        let quantization = json!({"load_in_4bit": true});
        let model = Directory("../www/models/tiny".into());
        session.load_model(&model, &quantization, &mut |_| {}).await.expect("the bundled model loads");
        assert!(session.tiles().choices.is_empty(), "CPU adapters are not tuned by themselves");
        let default = first_loss(&mut session).await;

        let candidates = [Tile::Direct, Tile::Shared64];
        session.tune(&candidates, AMPLE_SECONDS).await.expect("tuning runs");
        let found = session.tiles().clone();
        assert!(!found.choices.is_empty());
        let dispatches = session.counters().dispatches();
        session.tune(&candidates, AMPLE_SECONDS).await.expect("the note is read");
        assert_eq!((session.tiles(), session.counters().dispatches()), (&found, dispatches));

        let tuned = first_loss(&mut session).await;
        assert!((tuned / default - 1.0).abs() < 1e-6, "{tuned} and {default}");
    });
}

async fn first_loss(session: &mut Session) -> f64 {
    let train = json!({"max_length": 64, "max_steps": 1, "shuffle_dataset": false});
    let data = Directory("../www/data".into());
    let (rows, options) = (session.rows.clone(), ImportOptions::default());
    import_file(rows, "rows", &data, "faq.heldout.jsonl", options, &mut |_, _| {}).await.expect("rows");
    let options = PrepareOptions { lora: json!({"r": 8}), train, dataset: "rows", ..Default::default() };
    session.prepare(options).await.expect("a run");
    session.train_step().await.expect("a step").expect("a first step").loss
}
