//! Steps without a gradient: their slopes against the gradients of backpropagation, their updates, what a run of them learns.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};
use tabtune::cpu::Cpu;
use tabtune::data::import::import_file;
use tabtune::data::kv::MemoryKv;
use tabtune::data::library::ImportOptions;
use tabtune::files::Directory;
use tabtune::format::read_header;
use tabtune::kernels::linear::Tile;
use tabtune::kernels::mezo::Place;
use tabtune::reference::mezo::direction;
use tabtune::session::{DEFAULT_ADAPTER, PrepareOptions, Session};
use tabtune::train::StepLog;
use xxhash_rust::xxh3::xxh3_64;

use super::{By, Case, prepared_by, relative, scratch};

/// All weights of a dense model; LoRA on NF4, with ranks and modules that differ by layer.
const CASES: [&str; 4] = ["full_qwen3", "full_gemma3", "target_expression", "patterns"];

type Values = BTreeMap<String, Vec<f64>>;

fn case(name: &str) -> Case {
    Case::read(format!("fixtures/ways/{name}").into())
}

fn in_f64(values: Vec<(String, Vec<f32>)>) -> Values {
    values.into_iter().map(|(name, values)| (name, values.into_iter().map(f64::from).collect())).collect()
}

/// The shape of what learns, by name.
fn shapes(case: &Case) -> BTreeMap<String, Vec<usize>> {
    let files = Directory(case.folder.clone());
    let header = pollster::block_on(read_header(&files, "grads.safetensors")).expect("a header");
    let name = |name: &str| name.strip_prefix("base_model.model.").unwrap_or(name).to_owned();
    header.iter().map(|info| (name(&info.name), info.shape.clone())).collect()
}

/// The direction of a step, by what learns: as its name, its shape and the seed make it.
fn along(case: &Case, seed: u32, sample: u32) -> Values {
    let of = |(name, shape): (String, Vec<usize>)| {
        let len: usize = shape.iter().product();
        let cols = if shape.len() == 1 { len } else { len / shape[0] };
        let (rows, stride) = (len / cols, cols.next_multiple_of(4));
        let place = Place {
            end: (rows * stride) as u32,
            stride: stride as u32,
            cols: cols as u32,
            stream: xxh3_64(name.as_bytes()) as u32,
            ..Place::default()
        };
        let z: Vec<f64> = direction(rows * stride, &[place], seed, sample);
        (name, z.chunks(stride).flat_map(|row| &row[..cols]).copied().collect())
    };
    shapes(case).into_iter().map(of).collect()
}

/// The first step of a case by MeZO: its log, and what learns before and after.
fn mezo_step(case: &Case, by: By, options: &[(&str, Value)]) -> (StepLog, Values, Values) {
    pollster::block_on(async {
        let changes = [&[("optim", "mezo".into()), ("warmup_steps", 0.into())], options].concat();
        let mut session = prepared_by(by, case, &changes).await;
        session.trainer().expect("a run").set_pipelined(false);
        let before = in_f64(session.parameters().await.expect("parameters"));
        let log = session.train_step().await.expect("a step").expect("a first step").log;
        (log, before, in_f64(session.parameters().await.expect("parameters")))
    })
}

fn gradients(case: &Case, by: By) -> Values {
    pollster::block_on(async {
        let mut session = prepared_by(by, case, &[]).await;
        session.trainer().expect("a run").set_pipelined(false);
        session.train_step().await.expect("a step").expect("a first step");
        in_f64(session.gradients().await.expect("gradients"))
    })
}

#[test]
fn slopes_are_the_derivatives_that_backpropagation_gives() {
    for name in CASES {
        let case = case(name);
        for by in [By::Tile(Tile::Direct), By::Gpu, By::Processor] {
            let gradients = gradients(&case, by);
            let options = [("zo_eps", 3e-4.into()), ("zo_num_samples", 3.into())];
            let (log, ..) = mezo_step(&case, by, &options);
            let mezo = log.mezo.expect("a step of MeZO");
            assert_eq!(mezo.projected_grad.len(), 3);
            for (sample, &slope) in mezo.projected_grad.iter().enumerate() {
                let z = along(&case, mezo.seed, sample as u32);
                assert_eq!(z.keys().collect::<Vec<_>>(), gradients.keys().collect::<Vec<_>>());
                let product =
                    |(g, z): (&Vec<f64>, &Vec<f64>)| g.iter().zip(z).map(|(g, z)| g * z).sum::<f64>();
                let want: f64 = gradients.values().zip(z.values()).map(product).sum();
                let error = relative(slope, want);
                println!("{name} {by:?}: slope {slope:.6} against {want:.6}, {error:.1e} off");
                assert!(error <= 1e-2, "{name} {by:?}: {slope} against {want}");
            }
        }
    }
}

#[test]
fn an_update_goes_along_the_directions_by_their_slopes() {
    for (name, by) in [("full_qwen3", By::Gpu), ("target_expression", By::Gpu), ("patterns", By::Processor)] {
        let case = case(name);
        let (rate, decay) = (2e-3, 0.5);
        let options = [
            ("learning_rate", rate.into()),
            ("lr_scheduler_type", "constant".into()),
            ("weight_decay", decay.into()),
            ("zo_num_samples", 2.into()),
            ("max_steps", 1.into()),
        ];
        let (log, before, after) = mezo_step(&case, by, &options);
        let mezo = log.mezo.expect("a step of MeZO");
        let directions = [0, 1].map(|sample| along(&case, mezo.seed, sample));
        for (name, before) in &before {
            // Norms and biases do not decay.
            let decay = if name.contains("norm") || name.ends_with("bias") { 0.0 } else { decay };
            for (i, before) in before.iter().enumerate() {
                let step: f64 =
                    [0, 1].iter().map(|&j| mezo.projected_grad[j] * directions[j][name][i] / 2.0).sum();
                let want = before - rate * (step + decay * before);
                let got = after[name][i];
                let bound = 1e-6 * (before.abs() + rate * step.abs()) + 1e-9;
                assert!((got - want).abs() <= bound, "{name}: {got} against {want}");
            }
        }
        assert!(
            (log.loss - (mezo.loss_plus + mezo.loss_minus) / 2.0).abs() < 1e-12 && log.grad_norm.is_nan()
        );
    }
}

/// Whatever the batches that the same rows come in: their losses are token-weighted means.
#[test]
fn accumulated_rows_have_the_slope_of_one_batch() {
    let case = case("target_expression");
    let slopes = [(2, 2), (4, 1), (1, 4)].map(|(rows, times)| {
        let options =
            [("per_device_train_batch_size", rows.into()), ("gradient_accumulation_steps", times.into())];
        let (log, ..) = mezo_step(&case, By::Processor, &options);
        (log.loss, log.mezo.expect("a step of MeZO").projected_grad[0])
    });
    for (loss, slope) in slopes {
        assert!(relative(loss, slopes[0].0) < 1e-6, "{slopes:?}");
        assert!(relative(slope, slopes[0].1) < 1e-3, "{slopes:?}");
    }
}

/// Twenty rows that say yes or no, and eight others like them.
fn small_rows() -> Vec<Value> {
    let days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let questions = ["Is it open on", "Can I come on", "Do you work on", "Are you there on"];
    // In an order that mixes days and questions.
    let row = |number: usize| {
        let (day, question) = (days[number * 11 % 28 / 4], questions[number * 11 % 4]);
        let answer = if day.starts_with('S') { " no" } else { " yes" };
        json!({"prompt": format!("{question} {day}?"), "completion": answer})
    };
    (0..28).map(row).collect()
}

/// A run on them with the others held out.
async fn small_task(train: Value, lora: Value) -> Session {
    let folder = scratch("mezo");
    let lines: Vec<String> = small_rows().iter().map(|row| format!("{row}\n")).collect();
    let rows = Rc::new(MemoryKv::default());
    for (name, lines) in [("rows", &lines[..20]), ("held-out", &lines[20..])] {
        let file = format!("{name}.jsonl");
        std::fs::write(folder.join(&file), lines.concat()).expect("a file");
        let data = Directory(folder.clone());
        import_file(rows.clone(), name, &data, &file, ImportOptions::default(), &mut |_, _| {})
            .await
            .expect("rows");
    }
    let mut session = Session::on(Cpu::open(None).expect("threads can be started"), rows);
    let model = Directory("../www/models/tiny".into());
    session.load_model(&model, &Value::Null, &mut |_| {}).await.expect("the model loads");
    let options =
        PrepareOptions { lora, train, dataset: "rows", eval_dataset: Some("held-out"), ..Default::default() };
    session.prepare(options).await.expect("the run is prepared");
    session
}

#[test]
fn five_hundred_steps_halve_the_loss_on_rows_that_were_held_out() {
    let train = json!({
        "optim": "mezo", "finetuning_type": "full", "max_steps": 500, "learning_rate": 2e-4, "lr_scheduler_type": "linear",
        "per_device_train_batch_size": 4, "shuffle_dataset": true, "seed": 1,
    });
    let [before, after] = pollster::block_on(async {
        let mut session = small_task(train, Value::Null).await;
        let before = session.evaluate().await.expect("an evaluation").eval_loss;
        while session.train_step().await.expect("a step").is_some() {}
        [before, session.evaluate().await.expect("an evaluation").eval_loss]
    });
    println!("held-out loss {before:.3} before, {after:.3} after 500 steps");
    assert!(after <= 0.5 * before, "{after} of {before}");
}

/// An objective without a gradient: the share of rows whose greedy answer is not the row's.
#[test]
fn exact_matches_are_counted_by_row() {
    let case = case("target_expression");
    let options = [("mezo_objective", "exact_match".into()), ("per_device_train_batch_size", 4.into())];
    // No row of a model of noise is answered rightly.
    let (log, before, after) = mezo_step(&case, By::Gpu, &options);
    let mezo = log.mezo.expect("a step of MeZO");
    assert_eq!((mezo.loss_plus, mezo.loss_minus, mezo.projected_grad), (1.0, 1.0, vec![0.0]));
    assert_eq!(before, after);

    // What a model says itself that was trained a little on them: of as many rows it gives another answer.
    let share = |mezo_objective: &str, lr: f64| {
        json!({
            "optim": "mezo", "mezo_objective": mezo_objective, "max_steps": 1, "learning_rate": lr, "zo_eps": 1e-7,
            "per_device_train_batch_size": 7, "gradient_accumulation_steps": 4,
        })
    };
    let train = json!({
        "max_steps": 22, "learning_rate": 3e-3, "per_device_train_batch_size": 4, "shuffle_dataset": true, "seed": 1,
    });
    pollster::block_on(async {
        let mut session = small_task(train, json!({"target_modules": "all-linear"})).await;
        while session.train_step().await.expect("a step").is_some() {}
        let greedy = json!({"max_new_tokens": 8, "temperature": 0});
        let mut missed = 0;
        let rows = small_rows();
        for row in &rows[..20] {
            let said =
                session.generate(&row["prompt"], &greedy, &mut |_| true).await.expect("an answer").text;
            missed += u32::from(row["completion"] != said.as_str());
        }
        assert!((1..20).contains(&missed), "{missed} of 20 rows tell nothing");
        let folder = scratch("mezo/adapter");
        for (name, bytes) in session.save(None).await.expect("an adapter") {
            std::fs::write(folder.join(name), bytes.to_vec()).expect("a file");
        }
        session.load_adapter(DEFAULT_ADAPTER, &Directory(folder)).await.expect("the adapter loads");
        let options =
            PrepareOptions { train: share("exact_match", 0.0), dataset: "rows", ..Default::default() };
        session.prepare(options).await.expect("the run is prepared");
        let log = session.train_step().await.expect("a step").expect("a first step").log;
        println!("{missed} of 20 rows are answered otherwise: {}", log.loss);
        assert!((log.loss - f64::from(missed) / 20.0).abs() < 1e-6, "{} is not {missed} of 20", log.loss);
    });
}
