//! Runs on preferences: what their reference makes of rows is kept, and they go on to the bit.

use std::rc::Rc;

use pollster::block_on;
use serde_json::{Value, json};
use tabtune::data::import::import_file;
use tabtune::data::kv::{Kv, Table};
use tabtune::data::library::ImportOptions;
use tabtune::device::Device;
use tabtune::error::{Code, Result};
use tabtune::files::Directory;
use tabtune::session::{Plan, PrepareOptions, Session};
use tabtune::train::saved::RunRecord;

use super::{Limited, bits, gpu, processor};

const STEPS: u32 = 6;

fn run(train: Value) -> PrepareOptions<'static> {
    let mut options = json!({
        "max_length": 48, "per_device_train_batch_size": 2, "max_steps": STEPS, "learning_rate": 1e-3,
        "shuffle_dataset": true, "save_steps": 1, "seed": 5,
    });
    let changes = train.as_object().expect("options").clone();
    options.as_object_mut().expect("options").extend(changes);
    let lora = if options["finetuning_type"] == "full" { Value::Null } else { json!({"r": 8}) };
    PrepareOptions {
        lora,
        train: options,
        dataset: "rows",
        run_name: Some("mine"),
        resume_from_checkpoint: true,
        ..Default::default()
    }
}

/// A page that is opened anew, with preferences that are there already or are imported now.
async fn opened(device: Device, kv: &Rc<Limited>, quantization: Value) -> Session {
    if kv.scan(Table::Datasets, None).await.expect("records").is_empty() {
        let data = Directory("fixtures/preferences/dpo_nf4".into());
        let options = ImportOptions::default();
        import_file(kv.clone(), "rows", &data, "data.jsonl", options, &mut |_, _| {}).await.expect("rows");
    }
    let mut session = Session::on(device, kv.clone());
    let model = Directory("../www/models/tiny".into());
    session.load_model(&model, &quantization, &mut |_| {}).await.expect("the model loads");
    session
}

/// Losses by step, and the bits of what learnt.
async fn finished(session: &mut Session) -> (Vec<(u32, u64)>, Vec<Vec<u32>>) {
    let mut losses = Vec::new();
    while let Some(log) = session.train_step().await.expect("a step") {
        losses.push(bits(&log));
    }
    let parameters = session.parameters().await.expect("parameters");
    let of_values = |(_, values): &(String, Vec<f32>)| values.iter().map(|value| value.to_bits()).collect();
    (losses, parameters.iter().map(of_values).collect())
}

async fn assert_goes_on(device: impl Fn() -> Device, train: Value) {
    let is_full = train["finetuning_type"] == "full";
    let quantization = json!({"load_in_4bit": !is_full});
    let whole = {
        let kv = Limited::new(Code::QuotaExceeded);
        let mut session = opened(device(), &kv, quantization.clone()).await;
        session.prepare(run(train.clone())).await.expect("the run is prepared");
        finished(&mut session).await
    };
    for cut in [1, 4] {
        let kv = Limited::new(Code::QuotaExceeded);
        let mut session = opened(device(), &kv, quantization.clone()).await;
        session.prepare(run(train.clone())).await.expect("the run is prepared");
        let mut losses = Vec::new();
        for _ in 0..cut {
            losses.push(bits(&session.train_step().await.expect("a step").expect("there are steps")));
        }
        drop(session);
        let mut session = opened(device(), &kv, quantization.clone()).await;
        let plan = session.prepare(run(train.clone())).await.expect("the run is prepared");
        assert_eq!(plan.resumed.map(|resumed| resumed.step), Some(cut), "{train}");
        let (rest, parameters) = finished(&mut session).await;
        losses.extend(rest);
        assert_eq!(losses, whole.0, "{train}: losses");
        assert!(parameters == whole.1, "{train}: parameters");
    }
}

#[test]
fn runs_on_preferences_go_on_to_the_bit() {
    for train in [
        json!({"method": "dpo", "loss_type": ["sigmoid", "sft"], "gradient_accumulation_steps": 2}),
        json!({"method": "dpo", "finetuning_type": "full", "precompute_ref_log_probs": false}),
        json!({"method": "kto"}),
        json!({"method": "orpo", "packing": true}),
    ] {
        block_on(assert_goes_on(|| processor(None), train));
    }
    block_on(assert_goes_on(gpu, json!({"method": "kto"})));
}

/// Prepares a run whose reference is asked for until `most` micro-batches were told of; returns how many were.
async fn prepared(session: &mut Session, train: Value, most: usize) -> (Result<Plan>, usize) {
    let mut told = 0;
    let plan = session
        .prepare_while(PrepareOptions { overwrite: true, ..run(train) }, &mut |_, _| {
            told += 1;
            told < most
        })
        .await;
    (plan, told)
}

#[test]
fn what_a_reference_makes_of_rows_is_computed_once() {
    block_on(async {
        let kv = Limited::new(Code::QuotaExceeded);
        let mut session = opened(processor(None), &kv, json!({"load_in_4bit": true})).await;
        // Nine pairs are five micro-batches. The first two are computed before the page is closed.
        let dpo = || json!({"method": "dpo", "shuffle_dataset": false});
        let (stopped, told) = prepared(&mut session, dpo(), 2).await;
        assert_eq!((stopped.expect_err("it was stopped").code, told), (Code::Cancelled, 2));
        let mut session = opened(processor(None), &kv, json!({"load_in_4bit": true})).await;
        let (plan, told) = prepared(&mut session, dpo(), 9).await;
        assert_eq!((plan.expect("a plan").train_rows, told), (9, 3));
        // Another beta has the same reference; the start of an adapter, another model and other neighbours have not.
        for (train, expected) in [
            (json!({"method": "dpo", "beta": 0.5}), 0),
            (json!({"method": "dpo", "test_size": 0.3}), 0),
            (json!({"method": "dpo", "reference": "start"}), 5),
            (json!({"method": "orpo"}), 0),
            (json!({"method": "kto"}), 9),
            (json!({"method": "kto", "learning_rate": 1e-4}), 0),
            (json!({"method": "kto", "per_device_train_batch_size": 3}), 6),
        ] {
            let (plan, told) = prepared(&mut session, train.clone(), 99).await;
            plan.expect("a plan");
            assert_eq!(told, expected, "{train}");
        }
        let mut session = opened(processor(None), &kv, json!({})).await;
        assert_eq!(prepared(&mut session, dpo(), 99).await.1, 5);
        // With the rows goes what was made of them.
        tabtune::data::library::delete(&kv, "rows").await.expect("it is deleted");
        assert_eq!(kv.scan(Table::Scores, None).await.expect("records").len(), 0);
    });
}

/// The losses of a run's steps, each of which has all rows.
fn losses(train: Value) -> Vec<f64> {
    block_on(async {
        let kv = Limited::new(Code::QuotaExceeded);
        let mut session = opened(processor(None), &kv, json!({"load_in_4bit": true})).await;
        session.prepare(run(train)).await.expect("the run is prepared");
        let mut losses = Vec::new();
        while let Some(log) = session.train_step().await.expect("a step") {
            losses.push(log.loss);
        }
        losses
    })
}

#[test]
fn packed_pairs_have_the_loss_of_single_ones() {
    for method in ["dpo", "orpo"] {
        let of = |packing: bool, size: usize| {
            json!({
                "method": method, "packing": packing, "per_device_train_batch_size": size, "max_length": 128,
                "shuffle_dataset": false, "max_steps": 3,
            })
        };
        for (packed, single) in losses(of(true, 64)).iter().zip(losses(of(false, 9))) {
            assert!((packed - single).abs() <= 1e-5 * single.abs(), "{method}: {packed}, not {single}");
        }
    }
}

#[test]
fn the_best_model_is_kept_and_comes_back() {
    block_on(async {
        let kv = Limited::new(Code::QuotaExceeded);
        let train = json!({
            "method": "dpo", "test_size": 0.3, "eval_steps": 1, "save_total_limit": 1, "learning_rate": 3e-2,
            "load_best_model_at_end": true, "metric_for_best_model": "rewards/chosen",
        });
        let mut session = opened(processor(None), &kv, json!({"load_in_4bit": true})).await;
        session.prepare(run(train.clone())).await.expect("the run is prepared");
        let mut told = Vec::new();
        while session.train_step().await.expect("a step").is_some() {
            let log = session.evaluate().await.expect("an evaluation");
            told.push((log.step, log.metrics["eval_rewards/chosen"]));
        }
        let best = told.iter().copied().reduce(|best, other| if other.1 > best.1 { other } else { best });
        let best = best.expect("there were evaluations");
        assert!(best.0 < STEPS, "the run is to end with something worse: {told:?}");
        let record = RunRecord::load(&kv, "mine").await.expect("a record");
        let steps: Vec<u32> = record.saved.iter().map(|saved| saved.step).collect();
        assert_eq!(steps, [best.0, STEPS]);

        // A page that is opened anew has it as well.
        let mut again = opened(processor(None), &kv, json!({"load_in_4bit": true})).await;
        again.prepare(run(train)).await.expect("the run is prepared");
        for session in [&mut session, &mut again] {
            let loaded = session.load_best().await.expect("a best model");
            assert_eq!((loaded.step, loaded.metric), best);
            let log = session.evaluate().await.expect("an evaluation");
            assert_eq!(log.metrics["eval_rewards/chosen"], best.1);
            assert!(session.train_step().await.expect("no step").is_none());
            assert!(session.save_checkpoint().await.expect("no checkpoint").1.is_none());
        }

        let wrong = json!({
            "method": "dpo", "test_size": 0.3, "eval_steps": 1, "load_best_model_at_end": true,
            "metric_for_best_model": "bleu",
        });
        session
            .prepare(PrepareOptions { overwrite: true, resume_from_checkpoint: false, ..run(wrong) })
            .await
            .expect("a plan");
        session.train_step().await.expect("a step");
        let error = session.evaluate().await.expect_err("no such metric");
        assert_eq!(error.code, Code::BadOption);
        assert!(error.message.contains("it tells eval_loss, eval_logps/chosen"), "{}", error.message);
    });
}
