//! Runs without gradients: their checkpoints are a start and the seeds and slopes since.

use std::rc::Rc;

use pollster::block_on;
use serde_json::{Value, json};
use tabtune::data::kv::{Kv, Table, Write};
use tabtune::device::Device;
use tabtune::error::Code;
use tabtune::files::Directory;
use tabtune::session::{PrepareOptions, Session};
use tabtune::train::saved::{self, RunRecord};

use super::{Limited, bits, gpu, import, processor};

const STEPS: u32 = 7;

/// What of the bundled model learns.
#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Adapter,
    AllWeights,
}

fn run(what: What) -> PrepareOptions<'static> {
    let mut train = json!({
        "optim": "mezo", "max_length": 48, "per_device_train_batch_size": 2, "max_steps": STEPS, "learning_rate": 1e-5,
        "weight_decay": 0.1, "zo_num_samples": 2, "shuffle_dataset": true, "save_steps": 1, "seed": 5,
    });
    let mut lora = json!({"r": 8, "lora_dropout": 0.1});
    if what == What::AllWeights {
        train["finetuning_type"] = json!("full");
        lora = Value::Null;
    }
    PrepareOptions {
        lora,
        train,
        dataset: "rows",
        run_name: Some("mine"),
        resume_from_checkpoint: true,
        ..Default::default()
    }
}

/// The run in a page that is opened anew, and the step that it goes on from.
async fn opened(device: Device, kv: &Rc<Limited>, what: What) -> (Session, Option<u32>) {
    let mut session = Session::on(device, kv.clone());
    let quantization = json!({"load_in_4bit": what == What::Adapter});
    let model = Directory("../www/models/tiny".into());
    session.load_model(&model, &quantization, &mut |_| {}).await.expect("the model loads");
    let plan = session.prepare(run(what)).await.expect("the run is prepared");
    (session, plan.resumed.map(|resumed| resumed.step))
}

/// Losses by step, and the bits of what learnt.
type Outcome = (Vec<(u32, u64)>, Vec<Vec<u32>>);

async fn finished(session: &mut Session, mut losses: Vec<(u32, u64)>) -> Outcome {
    while let Some(log) = session.train_step().await.expect("a step") {
        losses.push(bits(&log));
    }
    let parameters = session.parameters().await.expect("parameters");
    (
        losses,
        parameters.iter().map(|(_, values)| values.iter().map(|value| value.to_bits()).collect()).collect(),
    )
}

async fn uncut(device: Device, what: What) -> Outcome {
    let kv = Limited::new(Code::Io);
    import(&kv).await;
    let (mut session, _) = opened(device, &kv, what).await;
    finished(&mut session, Vec::new()).await
}

/// How a run ends whose tab goes away after each of the steps `cuts`.
async fn cut_after(device: Device, what: What, cuts: &[u32]) -> Outcome {
    let kv = Limited::new(Code::Io);
    import(&kv).await;
    let mut losses = Vec::new();
    for &cut in cuts {
        let (mut session, from) = opened(device.clone(), &kv, what).await;
        assert_eq!(from.unwrap_or(0), losses.len() as u32);
        while losses.len() < cut as usize {
            losses.push(bits(&session.train_step().await.expect("a step").expect("one is left")));
        }
    }
    let (mut session, from) = opened(device, &kv, what).await;
    assert_eq!(from, cuts.last().copied());
    finished(&mut session, losses).await
}

#[test]
fn a_run_that_is_cut_ends_as_one_that_was_not() {
    block_on(async {
        for what in [What::Adapter, What::AllWeights] {
            let whole = uncut(processor(Some(1)), what).await;
            for cuts in [&[1][..], &[2, 3, 5], &[STEPS - 1]] {
                let cut = cut_after(processor(Some(2)), what, cuts).await;
                assert!(cut == whole, "{what:?} cut after {cuts:?}");
            }
        }
        let gpu = gpu();
        let whole = uncut(gpu.clone(), What::Adapter).await;
        assert!(cut_after(gpu, What::Adapter, &[2, 4]).await == whole);
    });
}

#[test]
fn only_the_start_holds_values_and_it_stays() {
    block_on(async {
        for (what, records) in [(What::Adapter, 4), (What::AllWeights, 2)] {
            let kv = Limited::new(Code::Io);
            import(&kv).await;
            let (mut session, _) = opened(processor(None), &kv, what).await;
            let mut bytes = Vec::new();
            for _ in 0..5 {
                let log = session.train_step().await.expect("a step").expect("one is left");
                bytes.push(log.checkpoint.expect("a checkpoint was due").bytes);
            }
            assert!(bytes[1..].iter().all(|&bytes| bytes < 4000), "{bytes:?}");
            // An adapter starts where the first checkpoint was, all weights where the model's own files are.
            let saved = RunRecord::load(&kv, "mine").await.expect("a record").saved;
            let steps: Vec<u32> = saved.iter().map(|saved| saved.step).collect();
            let pieces = kv.scan(Table::Checkpoints, None).await.expect("records");
            match what {
                What::Adapter => assert_eq!(steps, [1, 4, 5]),
                What::AllWeights => assert_eq!((steps, bytes[0] < 4000), (vec![4, 5], true)),
            }
            assert_eq!(pieces.len(), records, "{what:?}");
            saved::delete(&kv, "mine").await.expect("it goes");
            assert!(kv.scan(Table::Checkpoints, None).await.expect("records").is_empty());
        }
    });
}

#[test]
fn a_damaged_start_is_told_and_a_cleared_one_is_saved_anew() {
    block_on(async {
        let kv = Limited::new(Code::Io);
        import(&kv).await;
        let whole = uncut(processor(Some(1)), What::Adapter).await;
        let (mut session, _) = opened(processor(None), &kv, What::Adapter).await;
        let mut losses = Vec::new();
        for _ in 0..2 {
            losses.push(bits(&session.train_step().await.expect("a step").expect("one is left")));
        }
        let pieces = kv.scan(Table::Checkpoints, None).await.expect("records");
        let (key, bytes) = pieces.iter().find(|(key, _)| key.number == 1).expect("a piece of values").clone();
        let mut damaged = bytes.clone();
        damaged[7] ^= 1;
        kv.write(vec![Write::Put(key.clone(), damaged)]).await.expect("a write");
        let error = saved::latest(&kv, "mine").await.map(drop).unwrap_err();
        assert_eq!(error.code, Code::BadState);
        assert!(error.message.contains("all 2 checkpoints"), "{error}");

        // The browser clears all: the next checkpoint holds values, and those after it begin with these.
        saved::delete(&kv, "mine").await.expect("it goes");
        for cleared in [true, false] {
            let log = session.train_step().await.expect("a step").expect("one is left");
            losses.push(bits(&log));
            let saving = log.checkpoint.expect("a checkpoint was due");
            assert_eq!((saving.cleared, saving.bytes > 10_000), (cleared, cleared));
        }
        drop(session);
        let (mut session, from) = opened(processor(None), &kv, What::Adapter).await;
        assert_eq!(from, Some(4));
        assert!(finished(&mut session, losses).await == whole);
    });
}

/// Steps that go wrong are not applied, and the run goes back to the last checkpoint that there is, whatever that holds.
#[test]
fn a_run_goes_back_to_where_it_was() {
    block_on(async {
        for what in [What::Adapter, What::AllWeights] {
            let kv = Limited::new(Code::Io);
            import(&kv).await;
            let mut options = run(what);
            // Moved so far, nothing stays finite.
            options.train["zo_eps"] = json!(1e15);
            options.train["max_steps"] = json!(50);
            let mut session = Session::on(processor(None), kv.clone());
            let model = Directory("../www/models/tiny".into());
            session.load_model(&model, &Value::Null, &mut |_| {}).await.expect("the model loads");
            session.prepare(options).await.expect("the run is prepared");
            let before = session.parameters().await.expect("parameters");
            let mut rewound = Vec::new();
            let error = loop {
                match session.train_step().await {
                    Ok(log) => {
                        let log = log.expect("the run does not end");
                        assert!(log.skipped);
                        rewound.extend(log.rewound_to.map(|to| log.step - to));
                    }
                    Err(error) => break error,
                }
            };
            assert_eq!((error.code, rewound), (Code::NotFinite, vec![1; 3]), "{what:?}");
            assert!(session.parameters().await.expect("parameters") == before, "{what:?} has moved");
        }
    });
}
