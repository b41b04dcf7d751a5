//! A whole run on the bundled model: what it is estimated to take, and which rows its steps take.

use std::rc::Rc;

use serde_json::{Map, Value, json};
use tabtune::adapter::LoraConfig;
use tabtune::cpu::Cpu;
use tabtune::data::import::import_file;
use tabtune::data::kv::MemoryKv;
use tabtune::data::library::ImportOptions;
use tabtune::data::tokens::{Selection, TokenSet};
use tabtune::device::{Device, ReadbackRing, Store, Workspace};
use tabtune::error::{Code, Result};
use tabtune::files::{Directory, Files};
use tabtune::generate::Generator;
use tabtune::gpu::Dispatches;
use tabtune::kernels::linear::Tile;
use tabtune::memory::{Class, LARGEST_BINDING, MAX_BINDING, write};
use tabtune::model::{Architecture, Group, LoadOptions, Model, Trained, View};
use tabtune::session::{Plan, PrepareOptions, Session};
use tabtune::train::options::{QuantizationOptions, TrainOptions};
use tabtune::train::{GpuBytes, RunPlan};

type Native = Session;

fn model() -> Directory {
    Directory("../www/models/tiny".into())
}

fn opened() -> Native {
    Session::on(Cpu::open(None).expect("threads can be started"), Rc::new(MemoryKv::default()))
}

async fn on_gpu() -> Native {
    Session::open(Rc::new(MemoryKv::default())).await.expect("the tests need a GPU adapter")
}

async fn loaded() -> Native {
    with_model(opened()).await
}

/// The session with the bundled model and rows.
async fn with_model(mut session: Native) -> Native {
    session.load_model(&model(), &quantization(), &mut |_| {}).await.expect("the bundled model loads");
    let data = Directory("../www/data".into());
    for (name, file) in [("rows", "faq.jsonl"), ("held out", "faq.heldout.jsonl")] {
        let (kv, options) = (session.rows.clone(), ImportOptions::default());
        import_file(kv, name, &data, file, options, &mut |_, _| {}).await.expect("rows");
    }
    session
}

fn quantization() -> Value {
    json!({"load_in_4bit": true})
}

async fn prepare(session: &mut Native, train: &Value, eval_dataset: Option<&str>) -> Plan {
    let options = PrepareOptions {
        lora: json!({"r": 8}),
        train: train.clone(),
        dataset: "rows",
        eval_dataset,
        ..Default::default()
    };
    session.prepare(options).await.expect("a run")
}

#[test]
fn an_estimate_is_what_is_allocated() {
    let trains = [
        json!({"max_length": 24, "per_device_train_batch_size": 3}),
        json!({"max_length": 24, "per_device_train_batch_size": 2, "gradient_checkpointing": true}),
    ];
    pollster::block_on(async {
        for (mut session, train) in [
            (loaded().await, &trains[0]),
            (loaded().await, &trains[1]),
            (with_model(on_gpu().await).await, &trains[0]),
            (with_model(on_gpu().await).await, &trains[1]),
        ] {
            let before = session.counters().buffer_bytes();
            let estimate =
                session.estimate(&model(), &quantization(), &json!({"r": 8}), train).await.unwrap();
            assert_eq!(session.counters().buffer_bytes(), before, "an estimate allocates nothing");
            // All rows of the bundled data have more tokens than 24, and text rows label all of them.
            let plan = prepare(&mut session, train, None).await;
            assert_eq!(estimate.gpu_bytes.weights, plan.footprint.gpu_bytes.weights);
            assert_eq!(estimate, plan.footprint);
            assert_eq!(plan.footprint.peak_gpu_bytes, session.counters().buffer_bytes());
        }
    });
}

#[test]
fn an_estimate_knows_of_what_learns_beside_factors() {
    let train = json!({"max_length": 24, "per_device_train_batch_size": 3});
    let lora = json!({
        "r": 8, "use_dora": true, "lora_dropout": 0.1, "modules_to_save": ["embed_tokens", "lm_head", "norm"]
    });
    pollster::block_on(async {
        for mut session in [loaded().await, with_model(on_gpu().await).await] {
            let estimate = session.estimate(&model(), &quantization(), &lora, &train).await.unwrap();
            let options = PrepareOptions {
                lora: lora.clone(),
                train: train.clone(),
                dataset: "rows",
                ..Default::default()
            };
            let plan = session.prepare(options).await.expect("a run");
            assert_eq!(estimate, plan.footprint);
            assert_eq!(plan.footprint.peak_gpu_bytes, session.counters().buffer_bytes());
        }
    });
}

/// Weights in 16 bits are beside their masters; what an optimiser keeps and the gradients stay as they were.
#[test]
fn weights_of_16_bits_take_two_bytes_more() {
    pollster::block_on(async {
        for mut session in [loaded().await, with_model(on_gpu().await).await] {
            session.load_model(&model(), &Value::Null, &mut |_| {}).await.expect("the bundled model loads");
            let mut taken = async |changes: Value| {
                let mut train =
                    json!({"finetuning_type": "full", "max_length": 24, "per_device_train_batch_size": 3});
                train.as_object_mut().expect("options").extend(changes.as_object().expect("options").clone());
                let estimate = session.estimate(&model(), &Value::Null, &Value::Null, &train).await.unwrap();
                let options = PrepareOptions { train, dataset: "rows", ..Default::default() };
                let plan = session.prepare(options).await.expect("a run");
                assert_eq!(estimate, plan.footprint, "{changes}");
                assert_eq!(plan.footprint.peak_gpu_bytes, session.counters().buffer_bytes(), "{changes}");
                estimate.gpu_bytes
            };
            for optim in ["adamw_torch", "adafactor", "sgd"] {
                let plain = taken(json!({"optim": optim})).await;
                for option in ["bf16", "fp16"] {
                    let rounded = taken(json!({"optim": optim, option: true})).await;
                    let in_both = |bytes: GpuBytes| bytes.adapter + bytes.optimizer;
                    // Norms are few and stay in 32 bits; copies begin at places that bindings of 16 bits can start at.
                    let more = in_both(rounded) - in_both(plain);
                    let share = more as f64 / (plain.adapter / 2) as f64;
                    assert!((0.98..1.02).contains(&share), "{optim} {option}: {share}");
                    assert_eq!(rounded.weights, plain.weights);
                }
            }
        }
    });
}

#[test]
fn a_model_of_seven_billion_parameters_is_planned_with_adapters_of_any_rank() {
    pollster::block_on(async {
        let session = opened();
        let files = Unread::llama_2_7b();
        let on = async |quantization: Value, r: u32, optim: &str| {
            let train = json!({"max_length": 512, "per_device_train_batch_size": 1, "optim": optim});
            let lora = json!({"r": r, "target_modules": "all-linear"});
            session.estimate(&files, &quantization, &lora, &train).await.expect("a plan")
        };
        let four_bits = json!({"load_in_4bit": true, "bnb_4bit_use_double_quant": true});
        let estimate = async |r: u32| on(four_bits.clone(), r, "adamw_torch").await;
        let eight_bits = on(json!({"load_in_8bit": true}), 16, "adamw_torch").await;
        let [qlora, int8, mezo] = [estimate(16).await, eight_bits, on(four_bits.clone(), 16, "mezo").await];
        println!("7B by QLoRA, 8 bits, MeZO: {qlora:?} {int8:?} {mezo:?}");
        assert!(qlora.peak_gpu_bytes < 5_000_000_000 && int8.peak_gpu_bytes < 8_600_000_000);
        assert!(mezo.peak_gpu_bytes < 4_400_000_000 && mezo.gpu_bytes.optimizer < qlora.gpu_bytes.optimizer);
        // 4 bits a weight, 8 for each 64 of them, and what tells which group of scales these are in.
        let linear: u64 = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008);
        let embeddings = 2 * 2 * 32000 * 4096;
        let bits = 8.0 * (qlora.gpu_bytes.weights - embeddings) as f64 / linear as f64;
        assert!((4.125..4.16).contains(&bits), "{bits} bits a weight");
        let mut before = 0;
        for r in [8, 64, 80, 96, 112, 128, 256] {
            let adapter = estimate(r).await.gpu_bytes.adapter;
            // 4 bytes for each value of A and B; parts begin at places that a binding can start at.
            let values = u64::from(r) * 32 * (4 * 2 * 4096 + 3 * (4096 + 11008));
            assert!(
                (4 * values..4 * values + (4 << 20)).contains(&adapter),
                "r {r}: {adapter} bytes, {values} values"
            );
            assert!(adapter > before);
            before = adapter;
        }
    });
}

/// Dense models of 3 to 14 billion parameters, whose largest weights pass a binding of WebGPU's default limits.
#[test]
fn weights_that_pass_a_binding_are_cut_and_the_adapter_lies_as_if_they_were_not() {
    let llama = json!({
        "model_type": "llama", "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 2,
        "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256,
        "rms_norm_eps": 1e-5, "max_position_embeddings": 4096, "tie_word_embeddings": true,
    });
    let qwen = json!({
        "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 2,
        "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "rms_norm_eps": 1e-6,
        "max_position_embeddings": 4096, "tie_word_embeddings": false,
    });
    let phi = json!({
        "model_type": "phi3", "hidden_size": 5120, "intermediate_size": 17920, "num_hidden_layers": 2,
        "num_attention_heads": 40, "num_key_value_heads": 10, "vocab_size": 100352, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 4096, "tie_word_embeddings": false,
    });
    // Products of a layer's qkv, output, gate_up and down.
    for (name, config, dtype, products) in [
        ("Llama-3.2-3B", &llama, "F16", [1, 1, 1, 1]),
        ("Llama-3.2-3B in f32", &llama, "F32", [1, 1, 2, 1]),
        ("Qwen2.5-7B", &qwen, "BF16", [1, 1, 4, 2]),
        ("Phi-4", &phi, "BF16", [1, 1, 3, 2]),
    ] {
        let files = Unread::new(config, dtype);
        let planned = |max_binding: u64| {
            pollster::block_on(async {
                let mut store = Store::planned(max_binding);
                let load = LoadOptions { load_in_4bit: false, ..LoadOptions::default() };
                let architecture = Model::architecture(&files).await.expect("a config");
                let model = Model::load(&files, architecture, load, &mut store, &mut |_| {}).await;
                let model = model.unwrap_or_else(|error| panic!("{name}: {error}"));
                let config = json!({"r": 16, "target_modules": "all-linear"});
                let config = LoraConfig::from_json(&config).expect("a config");
                let lora = Trained::lora(&model, config, &mut store).expect("an adapter");
                (model, lora)
            })
        };
        let (cut, lora) = planned(MAX_BINDING);
        let (whole, lora_of_whole) = planned(LARGEST_BINDING);
        for (layer, layer_of_whole) in cut.layers.iter().zip(&whole.layers) {
            for (group, count) in Group::ALL.into_iter().zip(products) {
                let [of_cut, of_whole] = [layer, layer_of_whole].map(|layer| &layer.groups[group]);
                assert_eq!((of_cut.len(), of_whole.len()), (count, 1), "{name}, {group:?}");
                let mut next = 0;
                for product in of_cut {
                    assert_eq!(product.first_col, next, "{name}, {group:?}");
                    next += product.cols();
                }
                assert_eq!(next, of_whole[0].cols(), "{name}, {group:?}");
            }
        }
        let bytes = |model: &Model| model.linear().map(|product| product.weight.bytes()).sum::<u64>();
        assert_eq!(bytes(&cut), bytes(&whole), "{name}");
        let lengths = |trained: &Trained| {
            trained.parameters.segments().iter().map(|segment| segment.len).collect::<Vec<_>>()
        };
        assert_eq!(lengths(&lora), lengths(&lora_of_whole), "{name}");
        assert_eq!(
            format!("{:?}", lora.parameters.entries()),
            format!("{:?}", lora_of_whole.parameters.entries()),
            "{name}"
        );
    }
}

/// In f32 the rows of a large vocabulary are more than one binding holds, where those of the files are not.
#[test]
fn a_large_vocabulary_that_learns_is_cut() {
    let configs: Value = serde_json::from_slice(
        &std::fs::read("fixtures/listed/configs.json").expect("the configs of listed models"),
    )
    .expect("JSON");
    for id in ["Qwen/Qwen2.5-0.5B-Instruct", "google/gemma-3-1b-it"] {
        let files = Unread::new(&configs[id]["config"], "BF16");
        pollster::block_on(async {
            let mut store = Store::planned(MAX_BINDING);
            let architecture = Model::architecture(&files).await.expect("a config");
            let load = LoadOptions::default();
            let model =
                Model::load(&files, architecture, load, &mut store, &mut |_| {}).await.expect("weights");
            let config = json!({"modules_to_save": ["embed_tokens", "lm_head"]});
            let config = LoraConfig::from_json(&config).expect("a config");
            let trained = Trained::lora(&model, config, &mut store).expect("an adapter");
            let learning = trained.model(&model);
            assert!(!learning.architecture.tied && model.architecture.tied, "{id}");
            for (name, slabs, of_model) in [
                ("model.embed_tokens.weight", &learning.embedding, &model.embedding),
                ("lm_head.weight", &learning.head, &model.head),
            ] {
                assert!(slabs.len() > of_model.len(), "{id}: {} slabs of {name}", slabs.len());
                let entry = trained.parameters.entries().iter().find(|entry| entry.name == name);
                let places = &entry.expect("it learns").places;
                let mut next = 0;
                for (slab, place) in slabs.iter().zip(places) {
                    assert_eq!((slab.first_id, place.rows.start), (next, next), "{id}: {name}");
                    assert!(slab.weight.values.size() <= MAX_BINDING);
                    next += slab.n_ids;
                }
                assert_eq!(
                    (next, places.len()),
                    (model.architecture.vocab.real, slabs.len()),
                    "{id}: {name}"
                );
            }
        });
    }
}

#[test]
fn the_figures_of_the_listed_models_are_what_is_planned() {
    let read = |path: &str| -> Value {
        serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
    };
    let settings = read("../www/studio/train/own-model.config.json");
    let configs = read("fixtures/listed/configs.json");
    let listed = read("../www/studio/train/models.json");
    let mut wrong = Vec::new();
    for model in listed.as_array().expect("a list") {
        let id = model["id"].as_str().expect("an id");
        let known = &configs[id];
        let made = if known["holds_tied_head"] == true { Unread::with_tied_head } else { Unread::new };
        let files = made(&known["config"], "BF16");
        let (parameters, run_gpu_bytes) = planned(&files, &settings);
        let figure = |name: &str| model[name].as_u64().unwrap_or_else(|| panic!("{id}: {name}"));
        assert_eq!(figure("parameters"), parameters, "{id}");
        // A tokenizer takes up to 40 MB, and figures are rounded to 10 MB.
        let downloaded = files.bytes - 5_000_000..files.bytes + 45_000_000;
        assert!(downloaded.contains(&figure("download_bytes")), "{id}: weights of {} bytes", files.bytes);
        if figure("run_gpu_bytes").abs_diff(run_gpu_bytes) * 20 > run_gpu_bytes {
            wrong.push(format!("{id}: {run_gpu_bytes}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "run_gpu_bytes in www/studio/train/models.json are to be\n{}",
        wrong.join("\n")
    );
}

fn smollm2() -> Unread {
    let configs: Value =
        serde_json::from_slice(&std::fs::read("fixtures/listed/configs.json").expect("a file"))
            .expect("JSON");
    Unread::new(&configs["HuggingFaceTB/SmolLM2-135M-Instruct"]["config"], "BF16")
}

/// Pairs are two sequences, and what tells them apart is small. Answers that KTO compares with go through the model by themselves.
#[test]
fn preferences_take_what_twice_as_many_examples_take() {
    let files = smollm2();
    let of = |method: &str, rows: u32, checkpointing: bool| {
        let settings = json!({
            "quantization": {"load_in_4bit": true}, "lora": {"r": 16, "target_modules": "all-linear"},
            "train": {
                "method": method, "per_device_train_batch_size": rows, "max_length": 512,
                "gradient_checkpointing": checkpointing,
            },
        });
        planned(&files, &settings).1
    };
    for checkpointing in [true, false] {
        for (method, pairs, examples) in
            [("dpo", 2, 4), ("orpo", 2, 4), ("simpo", 2, 4), ("cpo", 2, 4), ("kto", 2, 2)]
        {
            let share = of(method, pairs, checkpointing) as f64 / of("sft", examples, checkpointing) as f64;
            println!("{method}, checkpointing {checkpointing}: {share:.4} of supervised tuning");
            assert!(share <= 1.05, "{method}: {share}");
        }
    }
}

/// What a pass without a gradient has of activations and of moved parameters is a layer's at a time.
#[test]
fn mezo_takes_three_fifths_of_what_qlora_takes() {
    let files = smollm2();
    let of = |optim: &str, rows: u32, length: u32| {
        let settings = json!({
            "quantization": {"load_in_4bit": true, "bnb_4bit_use_double_quant": true},
            "lora": {"r": 16, "target_modules": "all-linear"},
            "train": {"optim": optim, "per_device_train_batch_size": rows, "max_length": length},
        });
        planned(&files, &settings).1 as f64
    };
    for (rows, length, most) in [(1, 512, 0.6), (4, 1024, 0.4)] {
        let [mezo, qlora] = ["mezo", "adamw_torch"].map(|optim| of(optim, rows, length));
        println!("{rows} × {length}: {mezo} of {qlora} bytes, {:.3}", mezo / qlora);
        assert!(mezo <= most * qlora, "{rows} × {length}: {mezo} of {qlora} bytes");
    }
}

/// The parameters of a model and the bytes that a run with `settings` takes, without a GPU.
fn planned(files: &Unread, settings: &Value) -> (u64, u64) {
    pollster::block_on(async {
        let architecture = Model::architecture(files).await.expect("a config");
        let parameters = architecture.parameters();
        let quantization = QuantizationOptions::from_json(&settings["quantization"]).expect("options");
        let mut store = Store::planned(MAX_BINDING);
        let load = quantization.load_options().expect("options that can be read");
        let model = Model::load(files, architecture, load, &mut store, &mut |_| {}).await.expect("weights");
        let lora = LoraConfig::from_json(&settings["lora"]).expect("options");
        let mut trained = Trained::lora(&model, lora, &mut store).expect("an adapter");
        let train = TrainOptions::from_json(&settings["train"]).expect("options");
        let length = train.max_length.expect("a length");
        let rows = Selection::all(Rc::new(TokenSet::alike(
            train.per_device_train_batch_size,
            train.encode_options().rows_as,
            length,
        )));
        // What GPUs take where nothing was timed.
        let tiles = Tile::Shared64.into();
        let plan =
            RunPlan::new(&mut store, &model, &mut trained, &tiles, &train, &rows, None).expect("a plan");
        (parameters, plan.footprint(&store).peak_gpu_bytes)
    })
}

#[test]
fn generation_sees_through_the_same_window_as_training() {
    pollster::block_on(async {
        let files = Directory("fixtures/models/mistral_f16_window/model".into());
        let mut session = opened();
        session.load_model(&files, &Value::Null, &mut |_| {}).await.expect("the fixture loads");
        let text = "The quick brown fox jumps over the lazy dog, and the dog sleeps on. ".repeat(2);
        let rows = Rows(format!("{{\"text\": \"{text}\"}}\n").into_bytes());
        let (kv, options) = (session.rows.clone(), ImportOptions::default());
        import_file(kv, "rows", &rows, "rows.jsonl", options, &mut |_, _| {}).await.expect("a row");
        prepare(&mut session, &json!({"max_steps": 1}), Some("rows")).await;
        let trained = session.evaluate().await.expect("a loss").eval_loss;

        let seen = session.preview("rows", &Value::Null, 0, 1).await.expect("a row");
        let ids: Vec<u32> = seen[0].tokens.iter().map(|token| token.id).collect();
        let device = Device::open().await.unwrap();
        let mut store = Store::new(&device);
        let architecture = Model::architecture(&files).await.unwrap();
        let [View::Window(window)] = architecture.views[..] else { panic!("one window") };
        assert!(2 * window < ids.len(), "the row passes the window");
        let load = LoadOptions { load_in_4bit: false, ..LoadOptions::default() };
        let model = Model::load(&files, architecture, load, &mut store, &mut |_| {}).await.unwrap();
        let tiles = Tile::for_adapter(device.summary()).into();
        let mut generator = Generator::new(&device, &mut store, &model, None, &tiles, 256).unwrap();
        let mut sum = 0.0;
        for (position, next) in ids.iter().enumerate().skip(1) {
            let logits =
                generator.run(&store, &ids[position - 1..position], position - 1, false).await.unwrap();
            let total: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
            sum += total.ln() - f64::from(logits[*next as usize]);
        }
        let generated = sum / (ids.len() - 1) as f64;
        assert!((generated / trained - 1.0).abs() < 1e-5, "{generated} against {trained}");
    });
}

#[test]
fn packed_rows_have_the_loss_of_single_ones() {
    pollster::block_on(async {
        let mut session = loaded().await;
        let all = std::fs::read_to_string("../www/data/faq.jsonl").expect("the bundled rows");
        let few = all.split_inclusive('\n').take(24).collect::<String>();
        let (kv, options) = (session.rows.clone(), ImportOptions::default());
        import_file(kv, "rows", &Rows(few.into_bytes()), "few.jsonl", options, &mut |_, _| {})
            .await
            .expect("rows");
        let mut results = Vec::new();
        for (packing, batch) in [(false, 8), (true, 3)] {
            let train = json!({
                "max_length": 128, "per_device_train_batch_size": batch, "gradient_accumulation_steps": 4096,
                "packing": packing, "max_steps": 1, "seed": 3,
            });
            prepare(&mut session, &train, None).await;
            let log = session.train_step().await.expect("a step").expect("a first step");
            assert_eq!(log.epoch, 1.0, "all rows are in the step");
            results.push((log.loss, log.grad_norm, log.num_tokens));
        }
        let (single, packed) = (results[0], results[1]);
        assert_eq!(single.2, packed.2);
        assert!((packed.0 / single.0 - 1.0).abs() < 1e-6, "loss {} and {}", packed.0, single.0);
        assert!((packed.1 / single.1 - 1.0).abs() < 1e-5, "norm {} and {}", packed.1, single.1);
    });
}

#[test]
fn a_share_of_the_rows_is_held_out() {
    pollster::block_on(async {
        let mut session = loaded().await;
        let all = session.tokenize("rows", &json!({}), &mut |_, _| true).await.unwrap().kept;
        let train =
            json!({"test_size": 0.2, "max_steps": 1, "group_by_length": true, "shuffle_dataset": true});
        prepare(&mut session, &train, None).await;
        let held_out = session.evaluate().await.expect("an evaluation").rows;
        assert!(held_out > 0 && held_out < all / 2, "{held_out} of {all}");
        session.train_step().await.expect("a step").expect("a first step");

        let few = json!({"max_eval_samples": 3, "max_steps": 1});
        assert_eq!(prepare(&mut session, &few, Some("rows")).await.eval_rows, 3);
        assert_eq!(session.evaluate().await.expect("an evaluation").rows, 3);

        let options =
            PrepareOptions { train, dataset: "rows", eval_dataset: Some("held out"), ..Default::default() };
        let error = session.prepare(options).await.unwrap_err();
        assert_eq!(error.code, Code::BadOption);
        let options = PrepareOptions { dataset: "nothing here", ..Default::default() };
        let error = session.prepare(options).await.unwrap_err();
        assert_eq!(
            (error.code, error.to_string().contains("\"nothing here\" is empty")),
            (Code::BadState, true)
        );
    });
}

#[test]
fn a_run_that_does_not_fit_says_what_would() {
    pollster::block_on(async {
        let mut session = loaded().await;
        let row = format!("{{\"text\": \"{}\"}}\n", "tab tune ".repeat(90));
        let files = Rows(row.repeat(3000).into_bytes());
        let (kv, options) = (session.rows.clone(), ImportOptions::default());
        import_file(kv, "rows", &files, "rows.jsonl", options, &mut |_, _| {}).await.expect("rows");
        let before = session.counters().buffer_bytes();
        prepare(&mut session, &json!({"max_length": 64, "per_device_train_batch_size": 1}), None).await;
        let train = json!({"max_length": 256, "per_device_train_batch_size": 3000});
        let options = PrepareOptions { lora: json!({"r": 8}), train, dataset: "rows", ..Default::default() };
        let error = session.prepare(options).await.unwrap_err();
        assert_eq!(error.code, Code::OutOfMemory);
        let buffer = format!(" bytes, and one buffer holds {}", session.adapter().max_storage_binding_bytes);
        for part in [
            buffer.as_str(),
            "the run takes up to ",
            " MB with max_length 128",
            " MB with per_device_train_batch_size 1500",
            " MB with r 4",
        ] {
            assert!(error.message.contains(part), "{part}: {error}");
        }
        assert_eq!(session.counters().buffer_bytes(), before, "nothing of it stays");
        // Nor is anything of the run before taken for part of what generators must not free.
        let messages = json!([{"role": "user", "content": "?"}]);
        for max_new_tokens in [1, 300, 1] {
            let options = json!({"max_new_tokens": max_new_tokens, "adapter": false});
            session.generate(&messages, &options, &mut |_| false).await.expect("an answer");
        }
        let longest = session.counters().buffer_bytes();
        let mut fresh = loaded().await;
        let options = json!({"max_new_tokens": 300, "adapter": false});
        fresh.generate(&messages, &options, &mut |_| false).await.expect("an answer");
        assert_eq!(longest, fresh.counters().buffer_bytes());
        let train = json!({"max_length": 64, "per_device_train_batch_size": 1});
        prepare(&mut session, &train, None).await;

        // Weights that learn are those of the files.
        session.load_model(&model(), &json!({}), &mut |_| {}).await.expect("the bundled model loads");
        let train =
            json!({"max_length": 256, "per_device_train_batch_size": 3000, "finetuning_type": "full"});
        let options = PrepareOptions { train, dataset: "rows", ..Default::default() };
        let error = session.prepare(options).await.unwrap_err();
        for part in
            [" MB with optim \"adafactor\"", " MB with optim \"sgd\"", " MB with finetuning_type \"lora\""]
        {
            assert!(error.message.contains(part), "{part}: {error}");
        }
    });
}

/// Chunks of a vocabulary, unlike the whole of it, take no more for being many.
#[test]
fn a_large_vocabulary_takes_no_more_beside_its_weights_than_a_small_one() {
    pollster::block_on(async {
        let session = opened();
        for (hidden, checkpointing) in [(640, true), (640, false), (2304, true)] {
            let train = json!({
                "max_length": 512, "per_device_train_batch_size": 1, "gradient_checkpointing": checkpointing,
            });
            let mut bytes = Vec::new();
            for vocab in [49_152, 151_936, 262_144] {
                let files = Unread::new(
                    &json!({
                        "model_type": "llama", "hidden_size": hidden, "intermediate_size": 2048,
                        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256,
                        "vocab_size": vocab, "rms_norm_eps": 1e-6, "max_position_embeddings": 4096,
                        "tie_word_embeddings": true,
                    }),
                    "F16",
                );
                let plan = session.estimate(&files, &quantization(), &json!({"r": 8}), &train).await;
                let parts = plan.expect("a plan").gpu_bytes;
                bytes.push(parts.activations + parts.other);
            }
            assert!(bytes[1..].iter().all(|&large| large <= bytes[0]), "H {hidden}: {bytes:?}");
        }
    });
}

/// A model's config and the header of its weights, whose bytes are never read.
struct Unread {
    config: Vec<u8>,
    header: Vec<u8>,
    bytes: u64,
}

impl Unread {
    fn llama_2_7b() -> Self {
        let config = json!({
            "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32000, "rms_norm_eps": 1e-5,
            "max_position_embeddings": 4096, "tie_word_embeddings": false,
        });
        Unread::new(&config, "F16")
    }

    /// A model whose weights have a dtype.
    fn new(config: &Value, dtype: &str) -> Self {
        let config = config.to_string().into_bytes();
        let tensors = Architecture::from_json(&config).expect("a config").checkpoint_tensors();
        Unread::of(config, tensors, dtype)
    }

    /// The same with files that hold the head although it is the embedding.
    fn with_tied_head(config: &Value, dtype: &str) -> Self {
        let config = config.to_string().into_bytes();
        let mut tensors = Architecture::from_json(&config).expect("a config").checkpoint_tensors();
        tensors.push(("lm_head.weight".to_owned(), tensors[0].1.clone()));
        Unread::of(config, tensors, dtype)
    }

    fn of(config: Vec<u8>, shapes: Vec<(String, Vec<usize>)>, dtype: &str) -> Self {
        let width: u64 = if dtype == "F32" { 4 } else { 2 };
        let mut tensors = Map::new();
        let mut end = 0;
        for (name, shape) in shapes {
            let begin = end;
            end += width * shape.iter().product::<usize>() as u64;
            tensors.insert(name, json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}));
        }
        let json = Value::from(tensors).to_string();
        let header = [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat();
        let bytes = header.len() as u64 + end;
        Unread { config, header, bytes }
    }
}

#[async_trait::async_trait(?Send)]
impl Files for Unread {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(match name {
            "config.json" => Some(self.config.len() as u64),
            "model.safetensors" => Some(self.bytes),
            _ => None,
        })
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        let bytes = if name == "config.json" { &self.config } else { &self.header };
        Ok(bytes[start as usize..start as usize + len].to_vec())
    }
}

/// The bundled model without its chat template, as base models come.
struct WithoutTemplate;

impl WithoutTemplate {
    fn config() -> Vec<u8> {
        let text = std::fs::read("../www/models/tiny/tokenizer_config.json").expect("a file");
        let mut config: Map<String, Value> = serde_json::from_slice(&text).expect("JSON");
        config.remove("chat_template");
        Value::from(config).to_string().into_bytes()
    }
}

#[async_trait::async_trait(?Send)]
impl Files for WithoutTemplate {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        match name {
            "tokenizer_config.json" => Ok(Some(Self::config().len() as u64)),
            name => model().size(name).await,
        }
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        match name {
            "tokenizer_config.json" => Ok(Self::config()[start as usize..start as usize + len].to_vec()),
            name => model().read(name, start, len).await,
        }
    }
}

#[test]
fn a_model_without_chat_template_goes_on_from_text() {
    pollster::block_on(async {
        let mut session = opened();
        session.load_model(&WithoutTemplate, &Value::Null, &mut |_| {}).await.expect("the model loads");
        let options = json!({"max_new_tokens": 4, "adapter": false});
        let text = json!("What is tabtune?\n");
        let said = session.generate(&text, &options, &mut |_| true).await.expect("a text");
        let same = session.generate(&json!({"prompt": text}), &options, &mut |_| true).await.expect("a text");
        assert_eq!((&said.text, said.tokens), (&same.text, same.tokens));
        assert!(said.tokens > 0);

        let chat = json!([{"role": "user", "content": "What is tabtune?"}]);
        let error = session.generate(&chat, &options, &mut |_| true).await.unwrap_err();
        assert_eq!(error.code, Code::BadModel);
        assert!(error.message.contains("pass the text to go on from as a string"), "{error}");
        for wrong in [json!({"prompt": 1}), json!({"text": "a"}), json!([]), Value::Null] {
            let error = session.generate(&wrong, &options, &mut |_| true).await.unwrap_err();
            assert_eq!(error.code, Code::BadData, "{wrong}");
        }
    });
}

/// Half an answer and what follows it are the whole: of the likeliest tokens, where the half is split into the tokens that it
/// was made of.
#[test]
fn an_answer_that_was_cut_off_goes_on_where_it_was() {
    pollster::block_on(async {
        let mut session = opened();
        session.load_model(&model(), &Value::Null, &mut |_| {}).await.expect("the model loads");
        let mut chat = vec![json!({"role": "user", "content": "What is a lake?"})];
        let mut ask = async |messages: &[Value], options: Value| {
            session.generate(&json!(messages), &options, &mut |_| true).await
        };
        let whole = ask(&chat, json!({"max_new_tokens": 40})).await.expect("an answer");
        assert!(whole.tokens > 8, "{whole:?}");
        for tokens in 1..whole.tokens {
            let half = ask(&chat, json!({"max_new_tokens": tokens})).await.expect("half an answer");
            chat.push(json!({"role": "assistant", "content": half.text}));
            let options = json!({"max_new_tokens": 40 - tokens, "continue_final_message": true});
            let rest = ask(&chat, options).await.expect("the rest");
            assert_eq!(half.text + &rest.text, whole.text);
            assert_eq!((half.tokens + rest.tokens, rest.stop), (whole.tokens, whole.stop));
            chat.pop();
        }

        let go_on = json!({"continue_final_message": true});
        let error = ask(&chat, go_on.clone()).await.unwrap_err();
        assert_eq!(error.code, Code::BadData);
        assert!(error.message.contains("the last message is of the role \"user\""), "{error}");
        let error = session.generate(&json!("A lake"), &go_on, &mut |_| true).await.unwrap_err();
        assert_eq!(error.code, Code::BadOption);
        assert!(error.message.contains("continue_final_message"), "{error}");
    });
}

/// One file in memory.
struct Rows(Vec<u8>);

#[async_trait::async_trait(?Send)]
impl Files for Rows {
    async fn size(&self, _: &str) -> Result<Option<u64>> {
        Ok(Some(self.0.len() as u64))
    }

    async fn read(&self, _: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        Ok(self.0[start as usize..start as usize + len].to_vec())
    }
}

/// An error that nobody caught is told by the read that comes next, whose staging buffer then serves again.
#[test]
fn a_read_that_tells_of_an_error_leaves_its_buffer_to_the_next() {
    pollster::block_on(async {
        let device = Device::open().await.unwrap();
        let mut store = Store::new(&device);
        let values = store.keep(Class::Other, "values", 4).unwrap();
        store.write(values, &[1.0f32, 2.0, 3.0, 4.0]);
        let mut ring = ReadbackRing::new(&device, values.size(), 1);
        let readback = ring.start(&store, values);
        device.gpu().expect("it is one").add_shader("broken", "this is no WGSL");
        let mut dispatches = Dispatches::new();
        dispatches.program();
        dispatches.dispatch("broken", &[0u32; 4], &[write(values)], [1, 1, 1], 1);
        Workspace::new(&device, &store, &dispatches.into()).expect("what is wrong is told later");
        assert_eq!(ring.finish::<f32>(readback).await.unwrap_err().code, Code::Internal);
        let readback = ring.start(&store, values);
        assert_eq!(ring.finish::<f32>(readback).await.expect("it is told once"), [1.0, 2.0, 3.0, 4.0]);
    });
}
