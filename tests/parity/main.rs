//! The whole model against PyTorch, PEFT and bitsandbytes, on the machine's own adapter.
//!
//! `tools/reference` makes the fixtures; its README says how and what they cover.

mod bases;
mod cut;
mod families;
#[path = "../support/gpu.rs"]
mod gpu;
mod mezo;
mod preferences;
mod taste;
mod ways;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gpu::gpu;
use serde_json::Value;
use tabtune::cpu::Cpu;
use tabtune::data::import::import_file;
use tabtune::data::kv::MemoryKv;
use tabtune::data::library::ImportOptions;
use tabtune::device::{Device, ReadbackRing, Store, Workspace};
use tabtune::files::{Directory, ModelPath};
use tabtune::format::{read_header, read_rows};
use tabtune::kernels::Recorder;
use tabtune::kernels::cross_entropy::DEAD;
use tabtune::kernels::linear::{Tile, Weight};
use tabtune::kernels::lower::lower;
use tabtune::memory::Class;
use tabtune::model::{LoadOptions, Loss, LossInputs, LossPlan, Model, Parameters, Slab};
use tabtune::session::{DEFAULT_ADAPTER, PrepareOptions, Session};

/// What computes: the GPU by the tile that suits it or by another one, or the processor.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Gpu,
    Tile(Tile),
    Processor,
}

struct Case {
    name: String,
    folder: PathBuf,
    config: Value,
    expected: Value,
}

impl Case {
    fn read(folder: PathBuf) -> Self {
        Case {
            name: folder.file_name().expect("a folder has a name").to_string_lossy().into_owned(),
            config: json(&folder.join("config.json")),
            expected: json(&folder.join("expected.json")),
            folder,
        }
    }

    /// Where model and rows are: the folder that the config names as its model, or the case's own.
    fn place(&self) -> PathBuf {
        match self.config["model"].as_str() {
            Some(name) => Path::new("fixtures").join(name),
            None => self.folder.clone(),
        }
    }

    /// Where its rows are: with the model, unless it has some of its own.
    fn rows(&self) -> PathBuf {
        if self.folder.join("data.jsonl").is_file() { self.folder.clone() } else { self.place() }
    }

    /// A GGUF, or a folder of Hugging Face's.
    fn model(&self) -> ModelPath {
        let gguf = self.folder.join("model.gguf");
        ModelPath::new(&if gguf.is_file() { gguf } else { self.place().join("model") })
    }
}

/// A folder for what a test writes: in Cargo's, or among temporary files where the program runs without it.
fn scratch(name: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = if built.is_dir() { built.to_owned() } else { std::env::temp_dir() }.join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fixture models, or the one that `TABTUNE_PARITY_CASE` names: a folder laid out like theirs, for
/// references too large to keep in the tree. `TABTUNE_PARITY_DEVICE=cpu` has the processor alone compute it.
fn cases() -> Vec<Case> {
    if let Some(folder) = std::env::var_os("TABTUNE_PARITY_CASE") {
        return vec![Case::read(PathBuf::from(folder))];
    }
    folders("fixtures/models")
}

fn folders(of: &str) -> Vec<Case> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(of)
        .expect("the fixtures are part of the tree")
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    assert!(folders.len() >= 5, "only {} fixture models in {of}", folders.len());
    folders.into_iter().map(Case::read).collect()
}

/// A session with the case's model loaded and its run prepared, from the case's adapter.
async fn prepared(case: &Case, changes: &[(&str, Value)]) -> Session {
    prepared_by(By::Gpu, case, changes).await
}

async fn prepared_by(by: By, case: &Case, changes: &[(&str, Value)]) -> Session {
    let rows = Rc::new(MemoryKv::default());
    let mut session = match by {
        By::Processor => Session::on(Cpu::open(None).expect("threads can be started"), rows),
        By::Gpu | By::Tile(_) => Session::on(gpu(), rows),
    };
    if let By::Tile(tile) = by {
        session.set_tile(tile);
    }
    prepare(&mut session, case, changes).await;
    session
}

/// Loads the case's model and prepares its run.
async fn prepare(session: &mut Session, case: &Case, changes: &[(&str, Value)]) {
    let mut train = case.config["train"].clone();
    for (option, value) in changes {
        train[*option] = value.clone();
    }
    let model = case.model();
    let quantization = &case.config["quantization"];
    session.load_model(&model, quantization, &mut |_| {}).await.expect("the model loads");
    let data = Directory(case.rows());
    import_file(session.rows.clone(), "rows", &data, "data.jsonl", ImportOptions::default(), &mut |_, _| {})
        .await
        .expect("the rows import");
    let options = PrepareOptions {
        lora: case.config["lora"].clone(),
        train,
        dataset: "rows",
        eval_dataset: Some("rows"),
        ..Default::default()
    };
    let adapter = case.folder.join("adapter");
    if adapter.is_dir() {
        session.load_adapter(DEFAULT_ADAPTER, &Directory(adapter)).await.expect("the adapter loads");
    }
    session.prepare(options).await.expect("the run is prepared");
}

fn relative(got: f64, want: f64) -> f64 {
    (got - want).abs() / want.abs().max(1e-12)
}

fn run(session: &mut Session) -> Vec<(f64, f64)> {
    pollster::block_on(async {
        let mut steps = Vec::new();
        while let Some(log) = session.train_step().await.expect("a step") {
            steps.push((log.loss, log.grad_norm));
        }
        steps
    })
}

/// By the adapter's own tile, by one that rounds NF4 to f16, which the reference does not, and on the processor.
#[test]
fn ten_steps_have_the_losses_and_norms_of_pytorch() {
    for case in cases() {
        let near = [1e-4, 1e-3];
        let ways = [(By::Gpu, near), (By::Tile(Tile::Half64), [1e-3, 5e-3]), (By::Processor, near)];
        for (by, bounds) in taken(ways) {
            assert_steps(&case, by, bounds);
        }
    }
}

/// The ways that are taken: all, or that of `TABTUNE_PARITY_DEVICE`.
fn taken<const N: usize, T: Copy>(ways: [(By, T); N]) -> impl Iterator<Item = (By, T)> {
    let on_cpu = std::env::var("TABTUNE_PARITY_DEVICE").is_ok_and(|device| device == "cpu");
    ways.into_iter().filter(move |(by, _)| !on_cpu || *by == By::Processor)
}

/// Holds the steps of a case to the reference; losses and gradient norms may be off by a share of `bounds`.
fn assert_steps(case: &Case, by: By, bounds: [f64; 2]) {
    let steps = case.expected["steps"].as_array().expect("expected.json has steps");
    let mut worst = [0.0f64; 4];
    pollster::block_on(async {
        let mut session = prepared_by(by, case, &[]).await;
        let before = session.evaluate().await.expect("an evaluation").eval_loss;
        worst[2] = relative(before, case.expected["eval_loss_before"].as_f64().expect("a number"));
        for step in steps {
            let log = session.train_step().await.expect("a step").expect("the run has this step");
            let want = |name: &str| step[name].as_f64().unwrap_or_else(|| panic!("no {name}"));
            assert_eq!(f64::from(log.step), want("step"), "{}", case.name);
            assert_eq!(log.num_tokens as f64, want("num_tokens"), "{} step {}", case.name, log.step);
            assert!(
                relative(log.learning_rate, want("learning_rate")) < 1e-9
                    || log.learning_rate == want("learning_rate")
            );
            worst[0] = worst[0].max(relative(log.loss, want("loss")));
            worst[1] = worst[1].max(relative(log.grad_norm, want("grad_norm")));
        }
        let after = session.evaluate().await.expect("an evaluation").eval_loss;
        worst[3] = relative(after, case.expected["eval_loss_after"].as_f64().expect("a number"));
    });
    println!(
        "{:25} {by:?} loss {:.1e} grad_norm {:.1e} eval {:.1e} {:.1e}",
        case.name, worst[0], worst[1], worst[2], worst[3]
    );
    assert!(worst[0] <= bounds[0], "{}: loss off by {:e}", case.name, worst[0]);
    assert!(worst[1] <= bounds[1], "{}: grad_norm off by {:e}", case.name, worst[1]);
    assert!(
        worst[2] <= 1e-4 && worst[3] <= 1e-3,
        "{}: eval_loss off by {:e} and {:e}",
        case.name,
        worst[2],
        worst[3]
    );
}

#[test]
fn every_gradient_of_step_one_is_that_of_pytorch() {
    for case in cases() {
        let ways = [
            (By::Tile(Tile::Direct), false),
            (By::Tile(Tile::Subgroup4), false),
            (By::Tile(Tile::Shared64), false),
            (By::Tile(Tile::Decoded64), false),
            (By::Tile(Tile::Half64), false),
            (By::Gpu, false),
            (By::Processor, false),
            (By::Gpu, true),
        ];
        for (by, checkpointing) in taken(ways) {
            let bound = if by == By::Tile(Tile::Half64) { 5e-3 } else { 5e-4 };
            assert_gradients(&case, checkpointing, by, bound);
        }
    }
}

/// Holds every gradient of a case's first step to the reference; each may be off by a share of `bound` of its norm.
fn assert_gradients(case: &Case, checkpointing: bool, by: By, bound: f64) {
    let got = pollster::block_on(async {
        let changes = [("gradient_checkpointing", checkpointing.into())];
        let mut session = prepared_by(by, case, &changes).await;
        session.trainer().expect("a run").set_pipelined(false);
        session.train_step().await.expect("a step").expect("a first step");
        session.gradients().await.expect("gradients")
    });
    let mut want = pollster::block_on(tensors(&case.folder, "grads.safetensors"));
    let mut worst = 0.0f64;
    for (name, values) in got {
        let prefix = if case.config["lora"].is_null() { "" } else { "base_model.model." };
        let name = format!("{prefix}{name}");
        let want = want.remove(&name).unwrap_or_else(|| panic!("{}: no {name}", case.name));
        assert_eq!(values.len(), want.len(), "{}: {name}", case.name);
        let sum = |f: &dyn Fn(usize) -> f64| (0..want.len()).map(f).sum::<f64>().sqrt();
        let error = sum(&|i| f64::from(values[i] - want[i]).powi(2));
        let norm = sum(&|i| f64::from(want[i]).powi(2));
        assert!(error <= bound * norm, "{}: {name} is {:e} off", case.name, error / norm);
        worst = worst.max(error / norm);
    }
    assert!(want.is_empty(), "{}: gradients missing: {:?}", case.name, want.keys());
    println!("{:25} checkpointing {checkpointing} {by:?}: gradients {worst:.1e}", case.name);
}

async fn tensors(folder: &Path, file: &str) -> BTreeMap<String, Vec<f32>> {
    let files = Directory(folder.to_owned());
    let mut all = BTreeMap::new();
    for info in read_header(&files, file).await.expect("a header") {
        let mut values = Vec::new();
        read_rows(&files, &info, 0, info.rows(), &mut values).await.expect("a tensor");
        all.insert(info.name.clone(), values);
    }
    all
}

#[test]
fn the_same_seed_gives_the_same_losses_to_the_bit() {
    let case = cases().remove(0);
    let changes = [("shuffle_dataset", true.into()), ("seed", 7.into())];
    let mut first = pollster::block_on(prepared(&case, &changes));
    let mut second = pollster::block_on(prepared(&case, &changes));
    assert_eq!(run(&mut first), run(&mut second));
}

#[test]
fn dropout_is_seeded_and_leaves_evaluation_alone() {
    let mut case = cases().remove(0);
    let plain = pollster::block_on(async {
        prepared(&case, &[]).await.evaluate().await.expect("an evaluation").eval_loss
    });
    case.config["lora"]["lora_dropout"] = 0.3.into();
    let mut runs = Vec::new();
    for _ in 0..2 {
        let mut session = pollster::block_on(prepared(&case, &[]));
        let eval = pollster::block_on(session.evaluate()).expect("an evaluation").eval_loss;
        assert_eq!(eval, plain, "evaluation knows no dropout");
        runs.push(run(&mut session));
    }
    assert_eq!(runs[0], runs[1]);
    let undropped = case.expected["steps"][0]["loss"].as_f64().expect("a number");
    assert!(relative(runs[0][0].0, undropped) > 1e-4, "dropout changes the loss in training");
}

#[test]
fn the_step_loop_makes_nothing_new() {
    let case = cases().remove(0);
    let mut session = pollster::block_on(prepared(&case, &[("max_steps", 100.into())]));
    let count = |session: &Session| {
        let counters = session.counters();
        [counters.buffers(), counters.buffer_bytes(), counters.pipelines(), counters.bind_groups()]
    };
    let prepared = count(&session);
    assert_eq!(run(&mut session).len(), 100);
    assert_eq!(count(&session), prepared, "buffers, bytes, pipelines, bind groups");
}

#[test]
fn a_saved_adapter_goes_on_where_it_was() {
    for case in cases() {
        pollster::block_on(async {
            let mut session = prepared(&case, &[]).await;
            run(&mut session);
            let after = session.evaluate().await.expect("an evaluation").eval_loss;
            let folder =
                std::env::temp_dir().join(format!("tabtune-parity-{}-{}", std::process::id(), case.name));
            std::fs::create_dir_all(&folder).expect("a folder");
            for (name, bytes) in session.save(None).await.expect("the adapter is saved") {
                std::fs::write(folder.join(name), bytes.to_vec()).expect("a file");
            }
            let options = PrepareOptions {
                train: case.config["train"].clone(),
                dataset: "rows",
                eval_dataset: Some("rows"),
                ..Default::default()
            };
            let saved = Directory(folder.clone());
            session.load_adapter(DEFAULT_ADAPTER, &saved).await.expect("the saved adapter loads");
            session.prepare(options).await.expect("the run is prepared");
            let again = session.evaluate().await.expect("an evaluation").eval_loss;
            std::fs::remove_dir_all(folder).expect("the folder goes");
            assert_eq!(again, after, "{}", case.name);
        });
    }
}

/// Labelled rows and rows of [`loss_of`].
const LABELLED: usize = 150;
const ROWS: usize = 160;

/// The losses of labelled rows and the gradient of all rows, on made-up hidden rows.
async fn loss_of(device: &Device, store: &mut Store, model: &Model, plan: LossPlan) -> (Vec<f32>, Vec<f32>) {
    let mut keep = |elements: usize| store.keep(Class::Other, "loss", elements).expect("a small tensor");
    let (width, stride) = (model.architecture.hidden.real, model.architecture.hidden.padded);
    let [x, dx] = [ROWS, ROWS].map(|rows| keep(rows * stride));
    let [index, targets, weight, losses] = [0; 4].map(|_| keep(plan.rows()));
    let inputs = LossInputs { index, targets, weight };
    let row =
        |i: usize| (0..stride).map(move |c| if c < width { ((i * 31 + c * 17) as f32).sin() } else { 0.0 });
    store.write(x, &(0..ROWS).flat_map(row).collect::<Vec<f32>>());
    let labelled = |value: &dyn Fn(usize) -> usize| -> Vec<u32> {
        (0..plan.rows()).map(|i| if i < LABELLED { value(i) as u32 } else { DEAD }).collect()
    };
    store.write(index, &labelled(&|i| i * 7 % ROWS));
    store.write(targets, &labelled(&|i| i * 11 % model.architecture.vocab.real));
    store.write(weight, &(0..plan.rows()).map(|i| 0.5 + (i % 5) as f32).collect::<Vec<f32>>());

    let mut rec = Recorder::new();
    let mut programs = vec![rec.program()];
    rec.clear(losses);
    rec.clear(dx);
    programs.extend(
        Loss { model, plan, inputs, parameters: &Parameters::default(), losses }.blocks(&mut rec, x, dx),
    );
    let dispatches = lower(&[rec], &Tile::for_adapter(device.summary()).into()).expect("one recording");
    let made = device.allocating(|| Workspace::new(device, store, &dispatches)).await.expect("a workspace");
    made.run(&programs, 0);
    let losses: Vec<f32> = ReadbackRing::read(device, store, losses).await.expect("losses");
    let dx = ReadbackRing::read(device, store, dx).await.expect("a gradient");
    (losses[..LABELLED].to_vec(), dx)
}

/// Blocks that meet the vocabulary in chunks, of a head in one slab and in two, give what those give that see it whole.
#[test]
fn a_loss_in_chunks_is_that_of_the_whole_vocabulary() {
    pollster::block_on(async {
        let device = gpu();
        let fixtures = ["models/tied_f32_odd_sizes", "models/smollm2_f16_tied", "models/llama2_bf16_dense"];
        // The last one scales its logits.
        for name in fixtures.into_iter().chain(["families/granite_bf16_tied"]) {
            let files = Directory(PathBuf::from(format!("fixtures/{name}/model")));
            let mut store = Store::new(&device);
            let load = LoadOptions { load_in_4bit: false, ..LoadOptions::default() };
            let architecture = Model::architecture(&files).await.unwrap();
            let mut model = Model::load(&files, architecture, load, &mut store, &mut |_| {}).await.unwrap();
            let plan = LossPlan::new(LABELLED, model.architecture.vocab.padded);
            assert!(!plan.cuts(model.architecture.vocab.padded));
            let whole = loss_of(&device, &mut store, &model, plan).await;

            let Slab { n_ids, weight, .. } = model.head[0];
            let Weight { format, values, .. } = weight;
            let at = 208;
            let offset = (at * 4 * format.row_words(model.architecture.hidden.padded)) as u64;
            let part = |first_id, n_ids, values| Slab {
                first_id,
                n_ids,
                weight: Weight { values, scales: values, ..weight },
            };
            let rest = values.slice(offset, values.size() - offset);
            let two = vec![part(0, at, values.slice(0, offset)), part(at, n_ids - at, rest)];
            for head in [model.head.clone(), two] {
                model.head = head;
                for chunk in [400, 48] {
                    let plan = LossPlan { block: 64, blocks: 3, chunk: chunk.min(n_ids - 1) / 16 * 16 };
                    let cut = loss_of(&device, &mut store, &model, plan).await;
                    let worst = whole.0.iter().zip(&cut.0).map(|(&a, &b)| relative(b.into(), a.into()));
                    assert!(worst.fold(0.0, f64::max) < 1e-5, "{name} in {chunk}: {whole:?} and {cut:?}");
                    let squares = |values: &mut dyn Iterator<Item = f32>| -> f64 {
                        values.map(|value| f64::from(value) * f64::from(value)).sum()
                    };
                    let off = squares(&mut whole.1.iter().zip(&cut.1).map(|(a, b)| a - b));
                    let off = (off / squares(&mut whole.1.iter().copied())).sqrt();
                    println!("{name} in chunks of {chunk}: gradient off by {off:.1e}");
                    assert!(off < 1e-5, "{name} in {chunk}: the gradient is off by {off:e}");
                }
            }
        }
    });
}
