//! The other ways to train, against transformers and PEFT: all weights, and each optimiser.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Value, json};
use tabtune::cpu::Cpu;
use tabtune::data::import::import_file;
use tabtune::data::kv::MemoryKv;
use tabtune::data::library::ImportOptions;
use tabtune::error::Code;
use tabtune::export::{ExportDtype, ExportOptions, Folder, Format};
use tabtune::files::{Directory, Outside};
use tabtune::kernels::linear::Tile;
use tabtune::session::{DEFAULT_ADAPTER, PrepareOptions, Session};

use super::{By, Case, assert_gradients, assert_steps, json as read_json, prepared_by, relative, scratch};

/// Tied and untied heads, biases, fused projections, norms of heads, norms that add one, multipliers; accumulation, decay
/// and clipping.
const FULL: [&str; 5] = ["full_gemma3", "full_granite", "full_llama_biases", "full_qwen3", "full_smollm3"];
/// All weights, read in 16 bits: tied and untied heads, BF16 and F16, masters that begin as they are read and others;
/// accumulation.
const MASTERS: [&str; 3] = ["full_bf16_qwen3", "full_bf16_qwen3_biases", "full_fp16_phi3_adafactor"];
const SGD: [&str; 1] = ["full_qwen2_sgd"];
/// Fused projections, each of which is one matrix to it, and DoRA, whose magnitudes are none; decay and clipping.
const ADAFACTOR: [&str; 2] = ["full_phi3_adafactor", "adafactor"];
/// Adapters whose modules, ranks and alphas are told apart by patterns.
const PATTERNS: [&str; 3] = ["patterns", "target_expression", "layers_pattern_sgd"];
/// Adapters beside which weights and biases of the model learn.
const SAVED: [&str; 5] =
    ["save_embedding_and_head", "save_tied_embedding", "save_norms", "bias_lora_only", "bias_all"];

/// Over dense weights and NF4, with biases, stacked modules and fused ones.
const DORA: [&str; 3] = ["dora", "dora_biases_nf4", "dora_fused_nf4"];

/// An adapter of which B alone learns.
const FROZEN: [&str; 1] = ["freeze_a"];

/// Adapters that are more than LoRA's factors.
fn beyond_factors() -> Vec<Case> {
    cases(&[&SAVED[..], &DORA].concat())
}

fn all() -> Vec<Case> {
    cases(&[&FULL[..], &MASTERS, &SGD, &ADAFACTOR, &PATTERNS, &SAVED, &DORA, &FROZEN].concat())
}

fn cases(names: &[&str]) -> Vec<Case> {
    names.iter().map(|name| Case::read(format!("fixtures/ways/{name}").into())).collect()
}

#[test]
fn ten_steps_have_the_losses_and_norms_of_transformers() {
    for case in all() {
        for by in [By::Gpu, By::Processor] {
            assert_steps(&case, by, [1e-4, 1e-3]);
        }
    }
}

#[test]
fn every_gradient_of_step_one_is_that_of_transformers() {
    for case in all() {
        for (by, checkpointing) in [
            (By::Tile(Tile::Direct), false),
            (By::Tile(Tile::Shared64), true),
            (By::Gpu, true),
            (By::Processor, false),
        ] {
            assert_gradients(&case, checkpointing, by, 5e-4);
        }
    }
}

/// After ten steps every parameter is where the reference's is: as long, as far from its start, with the same first values.
#[test]
fn what_ten_steps_make_of_the_parameters_is_what_transformers_makes() {
    for case in all() {
        let (before, after) = pollster::block_on(async {
            let mut session = prepared_by(By::Processor, &case, &[]).await;
            let before = session.parameters().await.expect("parameters");
            while session.train_step().await.expect("a step").is_some() {}
            (before, session.parameters().await.expect("parameters"))
        });
        let want = read_json(&case.folder.join("final.json"));
        let want = want.as_object().expect("final.json has parameters");
        assert_eq!(after.len(), want.len(), "{}", case.name);
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let mut worst = [0.0f64; 2];
        for ((name, before), (_, after)) in before.iter().zip(&after) {
            let prefix = if case.config["lora"].is_null() { "" } else { "base_model.model." };
            let want = &want[&format!("{prefix}{name}")];
            let number = |key: &str| want[key].as_f64().expect("a number");
            let length = norm(&mut after.iter().map(|&x| f64::from(x)));
            let change = norm(&mut after.iter().zip(before).map(|(a, b)| f64::from(*a) - f64::from(*b)));
            worst[0] = worst[0].max(relative(length, number("norm")));
            worst[1] = worst[1].max(relative(change, number("change")));
            assert!(
                relative(length, number("norm")) <= 1e-5,
                "{}: the norm of {name} is {length}",
                case.name
            );
            assert!(relative(change, number("change")) <= 1e-3, "{}: {name} moved by {change}", case.name);
            let steps = case.config["train"]["learning_rate"].as_f64().expect("a number") * 10.0;
            for (got, want) in after.iter().zip(want["values"].as_array().expect("values")) {
                let error = (f64::from(*got) - want.as_f64().expect("a number")).abs();
                assert!(error <= 1e-3 * steps + 1e-6, "{}: a value of {name} is {error:e} off", case.name);
            }
        }
        println!("{:25} norms {:.1e} changes {:.1e}", case.name, worst[0], worst[1]);
    }
}

/// Trains a case to its end and writes the model that came of it; the loss at the end and what the model says then.
async fn trained_and_written(case: &Case, dtype: ExportDtype, place: &Path) -> (f64, String) {
    let mut session = prepared_by(By::Processor, case, &[]).await;
    while session.train_step().await.expect("a step").is_some() {}
    let loss = session.evaluate().await.expect("an evaluation").eval_loss;
    let said = says(&mut session, true).await;
    let options = ExportOptions::new(Format::Safetensors, Some(dtype)).expect("options");
    let mut sink = Folder::create(&place.join("model")).expect("a folder");
    let written = session.export(&case.model(), None, options, &mut sink, &mut |_| true).await;
    written.expect("a model");
    (loss, said)
}

/// What the model goes on with, with its adapter or without.
async fn says(session: &mut Session, adapter: bool) -> String {
    let options = json!({"max_new_tokens": 24, "adapter": adapter});
    session.generate(&"The quick brown".into(), &options, &mut |_| true).await.expect("an answer").text
}

/// A folder with the rows of a case, into which a model can be written.
fn folder(name: &str, case: &Case) -> PathBuf {
    let place = scratch(&format!("{name}-{}", case.name));
    std::fs::copy(case.place().join("data.jsonl"), place.join("data.jsonl")).expect("the rows");
    place
}

/// A model whose weights were all trained is a model like any other: loaded again it has the loss that training ended with.
#[test]
fn a_saved_model_has_the_loss_that_training_ended_with() {
    for case in cases(&[&FULL[..], &ADAFACTOR[..1]].concat()) {
        let place = folder("full", &case);
        let mut again = Case::read(case.folder.clone());
        again.config["model"] = place.to_str().expect("a path in UTF-8").into();
        for (dtype, bound) in [(ExportDtype::F32, 1e-6), (ExportDtype::BF16, 1e-2)] {
            let [trained, saved] = pollster::block_on(async {
                let (trained, _) = trained_and_written(&case, dtype, &place).await;
                let mut session = prepared_by(By::Processor, &again, &[]).await;
                [trained, session.evaluate().await.expect("an evaluation").eval_loss]
            });
            assert!(relative(saved, trained) <= bound, "{}: {saved} in {dtype:?}, not {trained}", case.name);
            let want = case.expected["eval_loss_after"].as_f64().expect("a number");
            assert!(relative(trained, want) <= 1e-5, "{}: {trained} against {want}", case.name);
        }
        std::fs::remove_dir_all(&place).expect("the folder goes");
    }
}

/// What a run with weights in 16 bits has learnt are their masters: in f32 they are all of it, and a run on what was written,
/// with the same option, has the same loss and says the same. Without the option it has another.
#[test]
fn masters_are_all_that_a_run_in_16_bits_has_learnt() {
    for case in cases(&MASTERS) {
        let place = folder("masters", &case);
        let mut again = Case::read(case.folder.clone());
        again.config["model"] = place.to_str().expect("a path in UTF-8").into();
        pollster::block_on(async {
            let (trained, said) = trained_and_written(&case, ExportDtype::F32, &place).await;
            for by in [By::Processor, By::Gpu] {
                let mut session = prepared_by(by, &again, &[]).await;
                let rounded = session.evaluate().await.expect("an evaluation").eval_loss;
                let mut session =
                    prepared_by(by, &again, &[("bf16", false.into()), ("fp16", false.into())]).await;
                let plain = session.evaluate().await.expect("an evaluation").eval_loss;
                println!("{:25} {by:?} {trained} {rounded} plain {plain}", case.name);
                let bound = if by == By::Processor { 0.0 } else { 1e-6 };
                assert!(
                    relative(rounded, trained) <= bound,
                    "{} {by:?}: {rounded}, not {trained}",
                    case.name
                );
                assert_ne!(plain, rounded, "{} {by:?}", case.name);
            }
            let mut session = prepared_by(By::Processor, &again, &[]).await;
            assert_eq!(says(&mut session, true).await, said, "{}", case.name);
        });
        std::fs::remove_dir_all(&place).expect("the folder goes");
    }
}

/// The same case on what is in `place`, with an adapter that changes nothing yet.
fn without_adapter(case: &Case, place: &Path) -> Case {
    let Case { name, config, expected, .. } = case;
    let (folder, mut config) = (place.to_owned(), config.clone());
    config["model"] = place.to_str().expect("a path in UTF-8").into();
    config["lora"] = json!({"r": 1, "target_modules": "all-linear"});
    Case { name: name.clone(), folder, config, expected: expected.clone() }
}

/// Merged, whatever an adapter changes is part of the model: loaded again it has the loss that training ended with, and
/// says the same. A model in NF4 is merged as its files have it, so it is trained on as they do.
#[test]
fn a_merged_model_is_what_the_adapter_made_of_it() {
    for mut case in beyond_factors() {
        let place = folder("merged", &case);
        case.config["quantization"] = Value::Null;
        let again = without_adapter(&case, &place);
        let ([trained, merged], [said, merged_said]) = pollster::block_on(async {
            let (trained, said) = trained_and_written(&case, ExportDtype::F32, &place).await;
            let mut session = prepared_by(By::Processor, &again, &[]).await;
            let merged = session.evaluate().await.expect("an evaluation").eval_loss;
            ([trained, merged], [said, says(&mut session, false).await])
        });
        println!("{:25} {:.1e}", case.name, relative(merged, trained));
        assert!(relative(merged, trained) <= 1e-6, "{}: {merged}, not {trained}", case.name);
        assert_eq!(merged_said, said, "{}", case.name);
        std::fs::remove_dir_all(&place).expect("the folder goes");
    }
}

/// So it is as a GGUF, whose head is a tensor of its own where the embedding learnt apart from it.
#[test]
fn a_merged_gguf_is_what_the_adapter_made_of_it() {
    for (name, saved) in [
        ("save_norms", None),
        ("bias_lora_only", None),
        ("bias_all", None),
        ("dora_biases_nf4", None),
        ("dora_fused_nf4", None),
        ("save_norms", Some("embed_tokens")),
        ("save_norms", Some("lm_head")),
    ] {
        let mut case = Case::read(format!("fixtures/ways/{name}").into());
        if let Some(module) = saved {
            // The fixture whose embedding is untied is none for llama.cpp, so this one begins without an adapter.
            case.folder = case.folder.join("none");
            case.config["lora"] = json!({"r": 3, "use_dora": true, "modules_to_save": [module]});
        }
        let place = folder("gguf", &case);
        case.config["quantization"] = Value::Null;
        let again = without_adapter(&case, &place);
        let [trained, merged] = pollster::block_on(async {
            let mut session = prepared_by(By::Processor, &case, &[]).await;
            while session.train_step().await.expect("a step").is_some() {}
            let trained = session.evaluate().await.expect("an evaluation").eval_loss;
            let options = ExportOptions::new(Format::Gguf, Some(ExportDtype::F32)).expect("options");
            let mut sink = Folder::create(&place).expect("a folder");
            session
                .export(&case.model(), None, options, &mut sink, &mut |_| true)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut session = prepared_by(By::Processor, &again, &[]).await;
            [trained, session.evaluate().await.expect("an evaluation").eval_loss]
        });
        println!("{name:25} {:.1e}", relative(merged, trained));
        assert!(relative(merged, trained) <= 1e-6, "{name}: {merged}, not {trained}");
        std::fs::remove_dir_all(&place).expect("the folder goes");
    }
}

/// By default an adapter begins as the model is: magnitudes are the norms, and what is saved is what it was.
#[test]
fn a_new_adapter_changes_nothing_yet() {
    for case in beyond_factors() {
        let empty = case.folder.join("none");
        for by in [By::Gpu, By::Processor] {
            let loss = |lora: Value| {
                let mut new = Case::read(case.folder.clone());
                (new.folder, new.config["lora"]) = (empty.clone(), lora);
                pollster::block_on(async {
                    prepared_by(by, &new, &[]).await.evaluate().await.expect("an evaluation").eval_loss
                })
            };
            let (plain, new) =
                (loss(json!({"r": 1, "target_modules": "all-linear"})), loss(case.config["lora"].clone()));
            assert!(relative(new, plain) <= 1e-6, "{} {by:?}: {new}, not {plain}", case.name);
        }
    }
}

/// What a run made of an adapter is all in its files: loaded again it says the same, is saved as the same bytes, and a run
/// from it goes on with the same loss. Without it the model is what it was.
#[test]
fn a_saved_adapter_is_what_the_run_made_of_it() {
    for case in beyond_factors() {
        pollster::block_on(async {
            for by in [By::Gpu, By::Processor] {
                // Far enough that even a few norms change what the model says.
                let mut session = prepared_by(by, &case, &[("learning_rate", 0.03.into())]).await;
                while session.train_step().await.expect("a step").is_some() {}
                let loss = session.evaluate().await.expect("an evaluation").eval_loss;
                let after = says(&mut session, true).await;
                let plain = says(&mut session, false).await;
                assert_ne!(after, plain, "{} {by:?}", case.name);
                let files = session.save(None).await.expect("the adapter is saved");

                let place = folder(&format!("adapter-{by:?}"), &case);
                for (name, bytes) in &files {
                    std::fs::write(place.join(name), bytes.to_vec()).expect("a file");
                }
                let saved = Directory(place.clone());
                session.load_adapter("again", &saved).await.expect("the saved adapter loads");
                assert_eq!(says(&mut session, true).await, after, "{} {by:?}", case.name);
                assert_eq!(says(&mut session, false).await, plain, "{} {by:?}", case.name);
                let again = session.save(Some("again")).await.expect("the adapter is saved again");
                let bytes = |files: &BTreeMap<String, Outside>| -> Vec<Vec<u8>> {
                    files.values().map(Outside::to_vec).collect()
                };
                assert_eq!(bytes(&again), bytes(&files), "{}", case.name);
                session.use_adapter(None).expect("no adapter");
                assert_eq!(says(&mut session, false).await, plain, "{} {by:?}", case.name);

                session.load_adapter(DEFAULT_ADAPTER, &saved).await.expect("the saved adapter loads");
                let options = PrepareOptions {
                    train: case.config["train"].clone(),
                    dataset: "rows",
                    eval_dataset: Some("rows"),
                    ..Default::default()
                };
                session.prepare(options).await.expect("the run is prepared");
                let gone_on = session.evaluate().await.expect("an evaluation").eval_loss;
                assert_eq!(gone_on, loss, "{} {by:?}", case.name);
                std::fs::remove_dir_all(&place).expect("the folder goes");
            }
        });
    }
}

/// Descends a step along the gradient of those of what learns that `follows` names. Returns the loss before it, the loss
/// after it with the same masks, and the square of the norm of that gradient.
async fn descended(case: &Case, by: By, learning_rate: f64, follows: fn(&str) -> bool) -> [f64; 3] {
    let changes = [
        ("optim", "sgd".into()),
        ("learning_rate", learning_rate.into()),
        ("lr_scheduler_type", "constant".into()),
        ("weight_decay", 0.into()),
        ("max_grad_norm", 0.into()),
        ("gradient_accumulation_steps", 1.into()),
    ];
    let mut session = prepared_by(by, case, &changes).await;
    session.trainer().expect("a run").set_pipelined(false);
    let before = session.train_step().await.expect("a step").expect("a first step").loss;
    let gradients = session.gradients().await.expect("gradients");
    let followed = gradients.iter().filter(|(name, _)| follows(name)).flat_map(|(_, values)| values);
    let squared: f64 = followed.map(|&value| f64::from(value).powi(2)).sum();

    let place = folder(&format!("descended-{by:?}"), case);
    for (name, bytes) in session.save(None).await.expect("the adapter is saved") {
        let first = std::fs::read(case.folder.join("adapter").join(&name)).expect("the fixture's adapter");
        let bytes = match name.ends_with(".safetensors") {
            true => mixed(&first, &bytes.to_vec(), follows),
            false => first,
        };
        std::fs::write(place.join(name), bytes).expect("a file");
    }
    session.load_adapter(DEFAULT_ADAPTER, &Directory(place.clone())).await.expect("the adapter loads");
    let mut train = case.config["train"].clone();
    changes.into_iter().for_each(|(option, value)| train[option] = value);
    let options =
        PrepareOptions { lora: case.config["lora"].clone(), train, dataset: "rows", ..Default::default() };
    session.prepare(options).await.expect("the run is prepared");
    let after = session.train_step().await.expect("a step").expect("a first step").loss;
    std::fs::remove_dir_all(&place).expect("the folder goes");
    [before, after, squared]
}

/// The file of an adapter with those of its tensors that `takes` names from another one.
fn mixed(file: &[u8], other: &[u8], takes: fn(&str) -> bool) -> Vec<u8> {
    let places = |file: &[u8]| -> Vec<(String, std::ops::Range<usize>)> {
        let end = 8 + u64::from_le_bytes(file[..8].try_into().expect("8 bytes")) as usize;
        let header: Value = serde_json::from_slice(&file[8..end]).expect("a header");
        let of = |info: &Value, i: usize| end + info["data_offsets"][i].as_u64().expect("a place") as usize;
        let entries = header.as_object().expect("an object").iter();
        entries
            .filter(|(name, _)| *name != "__metadata__")
            .map(|(name, info)| (name.clone(), of(info, 0)..of(info, 1)))
            .collect()
    };
    let (mut file, others) = (file.to_vec(), places(other));
    for (name, place) in places(&file).into_iter().filter(|(name, _)| takes(name)) {
        let (_, from) = others.iter().find(|(other, _)| *other == name).expect("both have it");
        file[place].copy_from_slice(&other[from.clone()]);
    }
    file
}

/// With dropout the gradient is that of the loss with the same masks, by which it falls when one follows it. With DoRA that
/// is so of the magnitudes alone, since no gradient flows through the norms.
#[test]
fn the_gradient_with_dropout_is_that_of_the_loss() {
    let magnitudes: fn(&str) -> bool = |name| name.ends_with("lora_magnitude_vector");
    let cases = [("patterns", (|_| true) as fn(&str) -> bool)].into_iter();
    for (name, follows) in cases.chain(DORA.map(|name| (name, magnitudes))) {
        let mut case = Case::read(format!("fixtures/ways/{name}").into());
        case.config["lora"]["lora_dropout"] = 0.3.into();
        for (by, checkpointing) in [(By::Gpu, true), (By::Processor, false)] {
            case.config["train"]["gradient_checkpointing"] = checkpointing.into();
            let fall = |learning_rate: f64| {
                let [before, after, squared] =
                    pollster::block_on(descended(&case, by, learning_rate, follows));
                ((before - after) / learning_rate, squared)
            };
            let (_, squared) = fall(1e-9);
            // A step by which the loss falls by some hundredths, and half of it: together they tell where it is straight.
            let step = 0.04 / squared;
            let straight = 2.0 * fall(step / 2.0).0 - fall(step).0;
            println!("{name:25} {by:?} {:.1e}", relative(straight, squared));
            assert!(relative(straight, squared) <= 1e-2, "{name} {by:?}: {straight}, not {squared}");
        }
    }
}

/// Granite multiplies what o_proj and down_proj give, their biases too, which are kept so: they do not learn.
#[test]
fn biases_that_a_model_scales_are_refused() {
    let place = Path::new("fixtures/families/granite_f16_biases");
    for (lora, train) in [
        (json!({"target_modules": ["o_proj"], "bias": "lora_only"}), Value::Null),
        (Value::Null, json!({"finetuning_type": "full"})),
    ] {
        let error = pollster::block_on(async {
            let rows = Rc::new(MemoryKv::default());
            let mut session = Session::on(Cpu::open(None).expect("threads can be started"), rows);
            let model = Directory(place.join("model"));
            session.load_model(&model, &Value::Null, &mut |_| {}).await.expect("the model loads");
            let data = Directory(place.to_owned());
            let (kv, options) = (session.rows.clone(), ImportOptions::default());
            import_file(kv, "rows", &data, "data.jsonl", options, &mut |_, _| {}).await.expect("rows");
            let options = PrepareOptions { lora, train, dataset: "rows", ..Default::default() };
            session.prepare(options).await.map(drop).expect_err("no run")
        });
        assert_eq!(error.code, Code::BadOption);
        let says = ["biases of model.layers.0.self_attn.o_proj", "lora.bias"];
        assert!(says.iter().all(|text| error.message.contains(text)), "{error}");
    }
}

/// llama.cpp's adapters have factors alone.
#[test]
fn an_adapter_that_is_more_than_factors_is_no_lora_gguf() {
    for case in beyond_factors() {
        let error = pollster::block_on(async {
            let mut session = prepared_by(By::Processor, &case, &[]).await;
            let options = ExportOptions::new(Format::LoraGguf, None).expect("options");
            let mut sink = Folder::create(&scratch("no-lora-gguf")).expect("a folder");
            session.export(&case.model(), None, options, &mut sink, &mut |_| true).await.expect_err("no GGUF")
        });
        assert_eq!(error.code, Code::BadOption);
        assert!(
            error.message.starts_with("format lora-gguf") && error.message.contains("take format gguf"),
            "{error}"
        );
    }
}
