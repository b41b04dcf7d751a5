//! Runs whose weights are read in 16 bits: their masters are saved, and what is read is rounded from these again.

use std::rc::Rc;

use pollster::block_on;
use serde_json::{Value, json};
use tabtune::device::Device;
use tabtune::error::Code;
use tabtune::files::Directory;
use tabtune::session::{PrepareOptions, Session};

use super::{Limited, bits, gpu, import, processor};

const STEPS: u32 = 5;

/// A run of all weights of the bundled model, which the options in `changes` belong to. Few rows are held out, because
/// evaluations of many would take most of the time.
fn run(changes: &Value) -> PrepareOptions<'static> {
    let mut train = json!({
        "finetuning_type": "full", "max_length": 48, "per_device_train_batch_size": 2, "max_steps": STEPS,
        "learning_rate": 1e-3, "weight_decay": 0.1, "shuffle_dataset": true, "save_steps": 1, "test_size": 0.05, "seed": 5,
    });
    train.as_object_mut().expect("options").extend(changes.as_object().expect("options").clone());
    PrepareOptions {
        train,
        dataset: "rows",
        run_name: Some("mine"),
        resume_from_checkpoint: true,
        ..Default::default()
    }
}

/// The run in a page that is opened anew, and the step that it goes on from.
async fn opened(device: Device, kv: &Rc<Limited>, changes: &Value) -> (Session, Option<u32>) {
    let mut session = Session::on(device, kv.clone());
    let model = Directory("../www/models/tiny".into());
    session.load_model(&model, &Value::Null, &mut |_| {}).await.expect("the model loads");
    let plan = session.prepare(run(changes)).await.expect("the run is prepared");
    (session, plan.resumed.map(|resumed| resumed.step))
}

async fn new_rows() -> Rc<Limited> {
    let kv = Limited::new(Code::Io);
    import(&kv).await;
    kv
}

/// The bits of the losses of the steps that are left, of the held-out loss then, and of all masters.
async fn finished(session: &mut Session) -> (Vec<(u32, u64)>, u64, Vec<u32>) {
    let mut losses = Vec::new();
    while let Some(log) = session.train_step().await.expect("a step") {
        losses.push(bits(&log));
    }
    (losses, held_out(session).await, masters(session).await)
}

async fn held_out(session: &mut Session) -> u64 {
    session.evaluate().await.expect("an evaluation").eval_loss.to_bits()
}

async fn masters(session: &mut Session) -> Vec<u32> {
    let parameters = session.parameters().await.expect("parameters");
    parameters.iter().flat_map(|(_, values)| values.iter().map(|value| value.to_bits())).collect()
}

#[test]
fn a_run_that_is_cut_ends_as_one_that_was_not() {
    block_on(async {
        for (device, changes, cuts) in [
            (processor(None), json!({"bf16": true, "gradient_accumulation_steps": 2}), &[1, 4][..]),
            (processor(None), json!({"fp16": true, "optim": "adafactor"}), &[3]),
            (gpu(), json!({"bf16": true, "optim": "sgd", "learning_rate": 0.1}), &[2]),
        ] {
            let whole = finished(&mut opened(device.clone(), &new_rows().await, &changes).await.0).await;
            for &cut in cuts {
                let kv = new_rows().await;
                let (mut session, _) = opened(device.clone(), &kv, &changes).await;
                let mut losses = Vec::new();
                while losses.len() < cut as usize {
                    losses.push(bits(&session.train_step().await.expect("a step").expect("one is left")));
                }
                drop(session);
                let (mut session, from) = opened(device.clone(), &kv, &changes).await;
                assert_eq!(from, Some(cut), "{changes}");
                let (rest, held_out, masters) = finished(&mut session).await;
                losses.extend(rest);
                assert_eq!((losses, held_out), (whole.0.clone(), whole.1), "{changes} cut after step {cut}");
                assert!(masters == whole.2, "{changes} cut after step {cut}: masters");
            }
        }
    });
}

/// Whatever writes masters has passes read what these are rounded to: the best evaluation's checkpoint here, and values that
/// come from elsewhere.
#[test]
fn masters_that_are_written_are_read() {
    block_on(async {
        for device in [processor(None), gpu()] {
            // The highest loss counts as the best here, so that this is not the last one.
            let changes = json!({
                "bf16": true, "eval_steps": 1, "load_best_model_at_end": true, "greater_is_better": true,
            });
            let kv = new_rows().await;
            let (mut session, _) = opened(device.clone(), &kv, &changes).await;
            let mut evaluated = Vec::new();
            while session.train_step().await.expect("a step").is_some() {
                evaluated.push(held_out(&mut session).await);
            }
            let best = session.load_best().await.expect("the best model");
            assert!(best.step < STEPS, "the best is step {}", best.step);
            assert_eq!(held_out(&mut session).await, evaluated[best.step as usize - 1]);

            let layout = session.layout().expect("a layout").learns;
            let (mut other, _) = opened(device, &new_rows().await, &json!({"bf16": true})).await;
            let before = held_out(&mut other).await;
            for entry in &layout {
                let values = session.values(&entry.name).await.expect("values");
                other.set_values(&entry.name, &values).await.expect("they are as many");
            }
            assert_ne!(before, evaluated[best.step as usize - 1]);
            assert_eq!(held_out(&mut other).await, evaluated[best.step as usize - 1]);
            assert!(masters(&mut other).await == masters(&mut session).await);
        }
    });
}

/// Rounded weights make another run than those in 32 bits, so neither goes on with the other's checkpoint.
#[test]
fn a_run_goes_on_in_the_bits_that_it_began_in() {
    block_on(async {
        let kv = new_rows().await;
        let (mut session, _) = opened(processor(None), &kv, &json!({"bf16": true})).await;
        session.train_step().await.expect("a step").expect("one is left");
        let plain = json!({});
        let error = session.prepare(run(&plain)).await.map(drop).expect_err("no run");
        assert!(
            error.code == Code::BadOption && error.message.contains("train.bf16 is false, but was true"),
            "{error}"
        );
    });
}
