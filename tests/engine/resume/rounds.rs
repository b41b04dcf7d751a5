//! Rounds of learning together: other values at a step of the run's choice, and what is made of them.

use std::rc::Rc;

use pollster::block_on;
use serde_json::{Value, json};
use tabtune::device::Device;
use tabtune::error::Code;
use tabtune::session::{Layout, PrepareOptions, Session};

use super::{Limited, gpu, import, mine, opened_on, processor};

/// Two rounds of three steps.
fn train() -> Value {
    json!({
        "max_length": 48, "per_device_train_batch_size": 2, "max_steps": 6, "learning_rate": 1e-2,
        "lr_scheduler_type": "constant", "shuffle_dataset": true, "seed": 5,
    })
}

fn options(lora: Value, resume_from_checkpoint: bool) -> PrepareOptions<'static> {
    PrepareOptions { lora, resume_from_checkpoint, ..mine(train()) }
}

async fn prepared(device: Device, lora: &Value) -> (Rc<Limited>, Session) {
    let kv = Limited::new(Code::Io);
    import(&kv).await;
    let mut session = opened_on(device, &kv).await;
    session.prepare(options(lora.clone(), false)).await.expect("a run");
    (kv, session)
}

/// Values of an entry that are in no adapter by chance.
fn others(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|at| ((at * 7919 + seed * 104_729) % 2003) as f32 / 2003.0 * 0.02 - 0.01).collect()
}

async fn give(session: &mut Session, layout: &Layout) {
    for (seed, entry) in layout.learns.iter().chain(&layout.frozen).enumerate() {
        session.set_values(&entry.name, &others(entry.rows * entry.cols, seed)).await.expect("values");
    }
}

/// The bits of the losses up to step `end`, and of all values then.
async fn up_to(session: &mut Session, end: u32) -> (Vec<(u32, u64)>, Vec<u32>) {
    session.trainer().expect("a run").set_end(Some(end));
    let mut losses = Vec::new();
    while let Some(log) = session.train_step().await.expect("a step") {
        losses.push((log.step, log.loss.to_bits()));
    }
    let Layout { learns, frozen, .. } = session.layout().expect("a layout");
    let mut values = Vec::new();
    for entry in learns.iter().chain(&frozen) {
        values.extend(session.values(&entry.name).await.expect("values").into_iter().map(f32::to_bits));
    }
    (losses, values)
}

/// A round is a function of what came and of its step: neither what the run did before nor a kill in its midst shows in it.
#[test]
fn a_round_depends_on_its_values_and_its_step_alone() {
    let loras = [
        json!({"r": 4, "lora_dropout": 0.1}),
        json!({"r": 4, "freeze_a": true, "target_modules": "all-linear", "modules_to_save": ["norm"]}),
    ];
    block_on(async {
        for (device, lora) in [(processor(None), &loras[0]), (processor(None), &loras[1]), (gpu(), &loras[1])]
        {
            let (_, mut session) = prepared(device.clone(), lora).await;
            let layout = session.layout().expect("a layout");
            assert_eq!(
                (layout.step, layout.total_steps, layout.frozen.is_empty()),
                (0, 6, lora["freeze_a"].is_null())
            );
            give(&mut session, &layout).await;
            session.begin_at(3).await.expect("a round");
            let alone = up_to(&mut session, 6).await;
            assert_eq!(alone.0.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [4, 5, 6]);

            let (kv, mut session) = prepared(device.clone(), lora).await;
            let first = up_to(&mut session, 3).await;
            assert_eq!(first.0.len(), 3);
            give(&mut session, &layout).await;
            let saved = session.begin_at(3).await.expect("a round").expect("a run with a name is saved");
            assert!(saved.step == 3 && saved.error.is_none(), "{saved:?}");
            session.trainer().expect("a run").set_end(Some(6));
            session.train_step().await.expect("a step").expect("a step is left");
            drop(session);

            let mut session = opened_on(device, &kv).await;
            let plan = session.prepare(options(lora.clone(), true)).await.expect("a run");
            assert_eq!(plan.resumed.map(|resumed| resumed.step), Some(3));
            let resumed = up_to(&mut session, 6).await;
            assert!(resumed == alone, "{:?} and {:?}", resumed.0, alone.0);
            // The server may ask for a round once more.
            give(&mut session, &layout).await;
            session.begin_at(3).await.expect("a round");
            assert!(up_to(&mut session, 6).await == alone, "the same round again");
        }
    });
}

#[test]
fn what_does_not_go_together_is_refused_by_name() {
    block_on(async {
        let (_, mut session) = prepared(processor(None), &json!({"r": 4})).await;
        let entry = session.layout().expect("a layout").learns.remove(0);
        let values = others(entry.rows * entry.cols, 1);
        for (name, values, why) in [
            ("model.nothing", &values[..], "\"model.nothing\""),
            (&entry.name, &values[1..], &entry.name),
            (&entry.name, &[&[f32::NAN], &values[1..]].concat(), "value 0"),
        ] {
            let error = session.set_values(name, values).await.expect_err("no such values");
            assert!(error.code == Code::BadOption && error.to_string().contains(why), "{error}");
        }
        let error = session.begin_at(6).await.expect_err("no such step");
        assert!(error.code == Code::BadOption, "{error}");
        let mezo = PrepareOptions {
            train: json!({"optim": "mezo", "max_steps": 4}),
            ..options(json!({"r": 4}), false)
        };
        session.prepare(PrepareOptions { overwrite: true, ..mezo }).await.expect("a run");
        let error = session.begin_at(1).await.expect_err("a run without gradients");
        assert!(error.code == Code::BadOption && error.to_string().contains("mezo"), "{error}");
    });
}
