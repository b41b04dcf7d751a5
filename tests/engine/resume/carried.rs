//! Runs that go on in another browser than they began in.

use std::rc::Rc;

use pollster::block_on;
use serde_json::{Value, json};
use tabtune::data::kv::{Key, Kv, MemoryKv, Table, Write};
use tabtune::device::Device;
use tabtune::error::{Code, Error, Result};
use tabtune::session::PrepareOptions;
use tabtune::train::Line;
use tabtune::train::saved::{self, RunExport, RunImport, RunRecord, Saved};

use super::{
    Limited, STEPS, Values, bits, finish, gpu, import, mine, opened_on, processor, sample, train_options,
    uncut,
};

/// The run "mine" as bytes.
async fn taken_out(kv: &dyn Kv) -> Vec<u8> {
    let mut export = RunExport::begin(kv, "mine").await.expect("a checkpoint is there");
    let mut bytes = Vec::new();
    while let Some(piece) = export.next(kv).await.expect("it is there still") {
        bytes.extend(piece);
    }
    bytes
}

/// Takes bytes in under the name "mine", as a file is read.
async fn taken_in(kv: &dyn Kv, bytes: &[u8], overwrite: bool) -> Result<Saved> {
    let mut import = RunImport::begin(kv, "mine", overwrite).await?;
    for piece in bytes.chunks(1000) {
        import.push(kv, piece).await?;
    }
    import.finish(kv).await
}

/// A store with the rows and the run "mine" as another one has it.
async fn elsewhere(kv: &dyn Kv) -> Rc<Limited> {
    let other = Limited::new(Code::Io);
    import(&other).await;
    taken_in(&other, &taken_out(kv).await, false).await.expect("the run comes in");
    other
}

/// All records of runs, in the order of their keys.
async fn records(kv: &dyn Kv) -> Vec<(Key, Vec<u8>)> {
    let mut all = Vec::new();
    for table in [Table::Runs, Table::Checkpoints, Table::RunLogs, Table::Samples] {
        all.extend(kv.scan(table, None).await.unwrap());
    }
    all
}

/// How a run ends that goes on elsewhere after the step `cut`.
async fn carried_after(
    cut: u32,
    [device, next]: [Device; 2],
    options: fn() -> PrepareOptions<'static>,
) -> (Vec<(u32, u64)>, Vec<u8>) {
    let kv = Limited::new(Code::Io);
    import(&kv).await;
    let mut session = opened_on(device, &kv).await;
    session.prepare(options()).await.expect("a run");
    let mut losses = Vec::new();
    for _ in 0..cut {
        losses.push(bits(&session.train_step().await.expect("a step").expect("one is left")));
    }
    drop(session);
    let kv = elsewhere(&*kv).await;
    let mut session = opened_on(next, &kv).await;
    let plan = session.prepare(options()).await.expect("the run");
    let resumed = plan.resumed.expect("it goes on");
    assert_eq!((resumed.step, resumed.log.len()), (cut, cut as usize));
    let (rest, adapter) = finish(&mut session).await.expect("the other steps");
    losses.extend(rest);
    (losses, adapter)
}

fn with_adamw() -> PrepareOptions<'static> {
    mine(train_options())
}

fn without_gradients() -> PrepareOptions<'static> {
    let mut train = train_options();
    for (option, value) in
        [("optim", json!("mezo")), ("learning_rate", json!(1e-5)), ("gradient_accumulation_steps", json!(1))]
    {
        train[option] = value;
    }
    mine(train)
}

#[test]
fn a_run_that_goes_on_elsewhere_ends_as_one_that_stayed() {
    block_on(async {
        for options in [with_adamw, without_gradients] {
            let whole = uncut(processor(Some(1)), options().train).await;
            for cut in [1, STEPS - 2] {
                let devices = [processor(Some(2)), processor(Some(1))];
                assert!(carried_after(cut, devices, options).await == whole, "after step {cut}");
            }
        }
        let gpu = gpu();
        let whole = uncut(gpu.clone(), train_options()).await;
        assert!(carried_after(3, [gpu.clone(), gpu], with_adamw).await == whole);
    });
}

/// The best evaluation was of a checkpoint before the last, and one of a run without gradients starts from a third.
#[test]
fn the_best_checkpoint_goes_along_with_what_it_starts_from() {
    block_on(async {
        for optim in ["adamw_torch", "mezo"] {
            let train = json!({
                "optim": optim, "max_length": 48, "per_device_train_batch_size": 2, "max_steps": 8, "learning_rate": 0.3,
                "lr_scheduler_type": "constant", "eval_steps": 1, "test_size": 0.2, "save_steps": 1, "seed": 5,
                "load_best_model_at_end": true, "save_total_limit": 1,
            });
            let kv = Limited::new(Code::Io);
            import(&kv).await;
            let mut session = opened_on(processor(None), &kv).await;
            session.prepare(mine(train.clone())).await.expect("a run");
            for _ in 0..5 {
                session.train_step().await.expect("a step");
                session.evaluate().await.expect("an evaluation");
            }
            let (_, metric) = saved::best(&*kv, "mine").await.unwrap().expect("one is the best");
            let best = session.load_best().await.expect("the best");
            let weights = session.save(None).await.unwrap();
            assert!(best.step < 5, "{optim}: the last is the best");
            drop(session);

            let kv = elsewhere(&*kv).await;
            let (_, found) = saved::best(&*kv, "mine").await.unwrap().expect("it came along");
            assert_eq!(found.to_bits(), metric.to_bits());
            let mut session = opened_on(processor(None), &kv).await;
            let plan = session.prepare(mine(train)).await.expect("the run");
            assert_eq!(plan.resumed.expect("it goes on").step, 5);
            assert_eq!(session.load_best().await.expect("the best"), best);
            assert!(session.save(None).await.unwrap() == weights, "{optim}");
        }
    });
}

#[test]
fn samples_and_all_of_the_log_come_along() {
    block_on(async {
        let kv = sample(&mut Values::new(&[&[1.0, 2.0], &[]]), 0.1).await;
        let samples = json!([{"step": 0, "samples": [
            {"prompt": "a", "text": "b"}, {"prompt": [{"role": "user", "content": "a"}], "text": ""}, {"prompt": {"prompt": "a"}, "text": "c"},
        ]}]);
        saved::keep_samples(&kv, "mine", &samples.to_string()).await.unwrap();
        let other = MemoryKv::default();
        let last = taken_in(&other, &taken_out(&kv).await, false).await.unwrap();
        assert_eq!(last.step, 7);
        assert_eq!(records(&other).await, records(&kv).await);
        assert_eq!(saved::samples(&other, "mine").await.unwrap(), Some(samples.to_string()));
        for wrong in
            [json!({}), json!([{"step": 1}]), json!([{"step": 1, "samples": [{"prompt": 3, "text": "b"}]}])]
        {
            saved::keep_samples(&kv, "mine", &wrong.to_string()).await.unwrap();
            let error = taken_in(&MemoryKv::default(), &taken_out(&kv).await, false).await.unwrap_err();
            assert!(error.code == Code::BadData && error.message.contains("samples"), "{error}");
        }
    });
}

#[test]
fn checkpoints_that_are_there_are_replaced_only_by_choice_and_in_one_go() {
    block_on(async {
        let bytes = taken_out(&sample(&mut Values::new(&[&[1.0], &[2.0]]), 0.1).await).await;
        let there = sample(&mut Values::new(&[&[3.0]]), 0.2).await;
        saved::keep_samples(&there, "mine", "[]").await.unwrap();
        let before = records(&there).await;
        let error = taken_in(&there, &bytes, false).await.unwrap_err();
        assert!(error.code == Code::BadState && error.message.contains("up to step 7"), "{error}");
        assert_eq!(records(&there).await, before);

        let mut writes = 0;
        loop {
            let kv = Limited::new(Code::Io);
            kv.write(before.iter().map(|(key, bytes)| Write::Put(key.clone(), bytes.clone())).collect())
                .await
                .unwrap();
            kv.writes_left.set(writes);
            let taken = taken_in(&*kv, &bytes, true).await;
            kv.writes_left.set(usize::MAX);
            let found = saved::latest(&*kv, "mine").await.unwrap().expect("one of both");
            let [Line::Eval(line)] = &found.log[..] else { panic!("one line") };
            if taken.is_ok() {
                assert_eq!(line.eval_loss, 0.1);
                break;
            }
            assert_eq!(line.eval_loss, 0.2, "after {writes} writes");
            // What the kill left is gone with the run.
            saved::delete(&*kv, "mine").await.unwrap();
            assert_eq!(records(&*kv).await, []);
            writes += 1;
        }
        assert_eq!(writes, 5, "what was left, three records, and all that names them");

        // No number is used twice.
        let ids: Vec<u32> = {
            taken_in(&there, &bytes, true).await.unwrap();
            RunRecord::load(&there, "mine").await.unwrap().saved.iter().map(Saved::id).collect()
        };
        assert_eq!(ids, [1]);
        assert_eq!(there.scan(Table::Checkpoints, None).await.unwrap().len(), 3);
        assert_eq!(saved::samples(&there, "mine").await.unwrap(), None);
    });
}

#[test]
fn a_full_disk_and_damaged_bytes_leave_nothing() {
    block_on(async {
        let bytes = taken_out(&sample(&mut Values::new(&[&[1.0, 2.0], &[3.0]]), 0.1).await).await;
        let refused = async |bytes: &[u8]| -> Error {
            let kv = MemoryKv::default();
            let error = taken_in(&kv, bytes, false).await.expect_err("it is refused");
            assert_eq!(records(&kv).await, [], "{error}");
            error
        };
        for length in 0..bytes.len() {
            assert_eq!(refused(&bytes[..length]).await.code, Code::BadData, "{length} bytes");
        }
        for place in 0..bytes.len() {
            let mut other = bytes.clone();
            other[place] ^= 0x41;
            refused(&other).await;
        }
        let error = refused(&[&bytes[..], b"more"].concat()).await;
        assert!(error.message.contains("goes on behind"), "{error}");
        let error = refused(&[b"tabtune run 2\n", &bytes[14..]].concat()).await;
        assert!(error.code == Code::BadState && error.message.contains("later version"), "{error}");
        let error = refused(b"PK\x03\x04 is how an archive begins").await;
        assert!(error.message.contains("no run that tabtune has taken out"), "{error}");

        let kv = Limited::new(Code::QuotaExceeded);
        kv.writes_left.set(2);
        assert_eq!(taken_in(&*kv, &bytes, false).await.unwrap_err().code, Code::QuotaExceeded);
        kv.writes_left.set(usize::MAX);
        assert!(saved::latest(&*kv, "mine").await.unwrap().is_none());
        taken_in(&*kv, &bytes, false).await.unwrap();
    });
}

/// Bytes with a right sum that no tabtune wrote: each says something that is not so.
#[test]
fn what_bytes_say_of_themselves_is_not_believed() {
    use xxhash_rust::xxh3::xxh3_128;

    /// The frames between the first line and the sum.
    fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        bytes = &bytes[14..];
        while bytes[0] != b'e' {
            let length = u32::from_le_bytes(bytes[1..5].try_into().unwrap()) as usize;
            frames.push((bytes[0], bytes[5..][..length].to_vec()));
            bytes = &bytes[5 + length..];
        }
        frames
    }

    fn packed(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = b"tabtune run 1\n".to_vec();
        let add = |bytes: &mut Vec<u8>, letter: u8, part: &[u8]| {
            bytes.push(letter);
            bytes.extend((part.len() as u32).to_le_bytes());
            bytes.extend(part);
        };
        for (letter, part) in frames {
            add(&mut bytes, *letter, part);
        }
        let sum = xxh3_128(&bytes).to_le_bytes();
        add(&mut bytes, b'e', &sum);
        bytes
    }

    fn with(frame: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut json = serde_json::from_slice(frame).unwrap();
        change(&mut json);
        json.to_string().into_bytes()
    }

    block_on(async {
        let whole = frames(&taken_out(&sample(&mut Values::new(&[&[1.0, 2.0], &[3.0]]), 0.1).await).await);
        let letters: Vec<u8> = whole.iter().map(|(letter, _)| *letter).collect();
        assert_eq!(letters, b"crrrl");
        taken_in(&MemoryKv::default(), &packed(&whole), false).await.unwrap();
        type Change = fn(&mut Vec<(u8, Vec<u8>)>);
        let changes: [(&str, Change); 10] = [
            ("step", |frames| frames[0].1 = with(&frames[0].1, |told| told["step"] = json!(8))),
            ("bytes", |frames| frames[0].1 = with(&frames[0].1, |told| told["bytes"] = json!(1u64 << 60))),
            ("start", |frames| frames[0].1 = with(&frames[0].1, |told| told["start"] = json!(0))),
            ("a value", |frames| frames[2].1[0] ^= 1),
            ("a short piece", |frames| frames[2].1.truncate(7)),
            ("a piece less", |frames| drop(frames.remove(3))),
            ("a piece more", |frames| {
                let more = frames[3].clone();
                frames[0].1 = with(&frames[0].1, |told| {
                    told["bytes"] = json!(told["bytes"].as_u64().unwrap() + more.1.len() as u64)
                });
                frames.insert(4, more);
            }),
            ("no checkpoint", |frames| drop(frames.drain(..4))),
            ("a log that is none", |frames| frames[4].1 = b"{]\n".to_vec()),
            ("many checkpoints", |frames| {
                let one = frames[..4].to_vec();
                (0..4).for_each(|_| drop(frames.splice(0..0, one.clone())));
            }),
        ];
        for (what, change) in changes {
            let mut frames = whole.clone();
            change(&mut frames);
            let kv = MemoryKv::default();
            let error = taken_in(&kv, &packed(&frames), false).await.expect_err(what);
            assert_eq!(error.code, Code::BadData, "{what}: {error}");
            assert_eq!(records(&kv).await, [], "{what}");
        }
        let mut later = whole.clone();
        later[1].1 = [b"tabtune checkpoint 3\n", &whole[1].1[21..]].concat();
        let error = taken_in(&MemoryKv::default(), &packed(&later), false).await.unwrap_err();
        assert!(error.code == Code::BadState && error.message.contains("later version"), "{error}");
    });
}

#[test]
fn a_run_without_a_checkpoint_is_not_taken_out() {
    block_on(async {
        let error = RunExport::begin(&MemoryKv::default(), "mine").await.map(drop).unwrap_err();
        assert!(error.code == Code::BadState && error.message.contains("no checkpoint"), "{error}");
        let kv = sample(&mut Values::new(&[&[1.0]]), 0.1).await;
        let mut export = RunExport::begin(&kv, "mine").await.unwrap();
        saved::delete(&kv, "mine").await.unwrap();
        let error = loop {
            match export.next(&kv).await {
                Ok(piece) => assert!(piece.is_some(), "it came to its end"),
                Err(error) => break error,
            }
        };
        assert!(error.code == Code::BadState && error.message.contains("changed"), "{error}");
    });
}
