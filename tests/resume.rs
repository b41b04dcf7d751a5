//! A run that is cut off anywhere and resumed is, to the bit, one that never was.

use std::cell::Cell;
use std::rc::Rc;

use pollster::block_on;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tabtune::data::import::import_file;
use tabtune::data::kv::{Key, Kv, MemoryKv, Table, Write};
use tabtune::data::library::ImportOptions;
use tabtune::error::{Code, Error, Result};
use tabtune::files::Directory;
use tabtune::kernels::linear::Tile;
use tabtune::session::{PrepareOptions, RunLog, Session};
use tabtune::train::checkpoint::{Checkpoint, Header, Identity, Progress};
use tabtune::train::runs::{self, RunRecord};
use tabtune::train::{EvalLog, Line};

const STEPS: u32 = 6;

/// A store in which a number of writes succeed.
struct Limited {
    inner: MemoryKv,
    writes_left: Cell<usize>,
    code: Code,
}

impl Limited {
    fn new(code: Code) -> Rc<Self> {
        Rc::new(Limited { inner: MemoryKv::default(), writes_left: Cell::new(usize::MAX), code })
    }
}

impl Kv for Limited {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>> {
        self.inner.get(keys).await
    }

    async fn scan(&self, table: Table, name: Option<&str>) -> Result<Vec<(Key, Vec<u8>)>> {
        self.inner.scan(table, name).await
    }

    async fn write(&self, changes: Vec<Write>) -> Result<()> {
        if self.writes_left.get() == 0 {
            return Err(Error::new(self.code, "no more"));
        }
        self.writes_left.set(self.writes_left.get() - 1);
        self.inner.write(changes).await
    }
}

fn train_options() -> Value {
    json!({
        "max_length": 48, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "max_steps": STEPS,
        "learning_rate": 1e-3, "lr_scheduler_type": "cosine", "warmup_steps": 2, "weight_decay": 0.1,
        "shuffle_dataset": true, "save_steps": 1, "seed": 5,
    })
}

/// A session with the bundled model and rows in `kv`, as a page that is opened anew has it.
async fn opened(kv: &Rc<Limited>) -> Session<Rc<Limited>> {
    let mut session = Session::open(kv.clone()).await.expect("the tests need a GPU adapter");
    let model = Directory("www/models/tiny".into());
    session.load_model(&model, &json!({"load_in_4bit": true}), &mut |_| {}).await.expect("the model loads");
    session
}

async fn import(kv: &Rc<Limited>) {
    let data = Directory("www/data".into());
    let options = ImportOptions::default();
    import_file(kv.clone(), "rows", &data, "faq.jsonl", options, &mut |_, _| {}).await.expect("rows");
}

/// Prepares the run "mine" and returns the step that it goes on from.
async fn prepare(session: &mut Session<Rc<Limited>>, train: Value) -> Result<Option<u32>> {
    prepare_as(session, train, true).await
}

async fn prepare_as(
    session: &mut Session<Rc<Limited>>,
    train: Value,
    resume_from_checkpoint: bool,
) -> Result<Option<u32>> {
    let options = PrepareOptions {
        lora: json!({"r": 8, "lora_dropout": 0.1}),
        train,
        dataset: "rows",
        run_name: Some("mine"),
        resume_from_checkpoint,
        ..Default::default()
    };
    let plan = session.prepare(options).await?;
    Ok(plan.resumed.map(|resumed| resumed.step))
}

/// The steps that a run takes before it fails, and how.
async fn until_it_fails(session: &mut Session<Rc<Limited>>) -> (Vec<RunLog>, Error) {
    let mut logs = Vec::new();
    loop {
        match session.train_step().await {
            Ok(Some(log)) => logs.push(log),
            Ok(None) => panic!("the run came to its end"),
            Err(error) => return (logs, error),
        }
    }
}

/// Losses by step and the adapter's file.
type Outcome = (Vec<(u32, u64)>, Vec<u8>);

async fn finish(session: &mut Session<Rc<Limited>>) -> Result<Outcome> {
    let mut losses = Vec::new();
    while let Some(log) = session.train_step().await? {
        losses.push(bits(&log));
    }
    Ok((losses, session.save(None).await?["adapter_model.safetensors"].clone()))
}

fn bits(log: &RunLog) -> (u32, u64) {
    (log.step, log.loss.to_bits())
}

#[test]
fn a_run_that_is_cut_after_any_step_ends_as_one_that_was_not() {
    block_on(async {
        let kv = Limited::new(Code::Io);
        import(&kv).await;
        let mut session = opened(&kv).await;
        assert_eq!(prepare(&mut session, train_options()).await.unwrap(), None);
        let (whole, adapter) = finish(&mut session).await.unwrap();
        assert_eq!(whole.len(), STEPS as usize);

        for cut in 1..STEPS {
            let kv = Limited::new(Code::Io);
            import(&kv).await;
            let mut session = opened(&kv).await;
            prepare(&mut session, train_options()).await.unwrap();
            for _ in 0..cut {
                session.train_step().await.unwrap();
            }
            // The tab is gone, with whatever was on its way.
            drop(session);
            let mut session = opened(&kv).await;
            // A tuner that would choose anew must not change the run.
            session.set_tile(Tile::Shared32);
            assert_eq!(prepare(&mut session, train_options()).await.unwrap(), Some(cut));
            let (rest, resumed) = finish(&mut session).await.unwrap();
            assert_eq!(rest, whole[cut as usize..], "cut after step {cut}");
            assert!(resumed == adapter, "the adapter after a cut at step {cut}");
        }
    });
}

#[test]
fn a_kill_in_the_midst_of_saving_leaves_the_checkpoint_before() {
    block_on(async {
        let kv = Limited::new(Code::Io);
        import(&kv).await;
        let mut session = opened(&kv).await;
        prepare(&mut session, train_options()).await.unwrap();
        session.train_step().await.unwrap();
        for writes in 0..3 {
            kv.writes_left.set(writes);
            let log = session.train_step().await.unwrap().unwrap();
            let saving = log.checkpoint.expect("a checkpoint was due");
            let error = saving.error.expect("it could not be saved");
            assert_eq!(error.code, "io");
            kv.writes_left.set(usize::MAX);
            let (found, damaged) = runs::latest(&kv, "mine").await.unwrap().expect("the one before");
            assert_eq!((found.header.progress.step, damaged), (1, vec![]));
        }
        let log = session.train_step().await.unwrap().unwrap();
        assert!(log.checkpoint.unwrap().error.is_none(), "the next one is saved again");
    });
}

#[test]
fn a_full_disk_keeps_the_last_checkpoint_and_the_run_goes_on() {
    block_on(async {
        let kv = Limited::new(Code::QuotaExceeded);
        import(&kv).await;
        let mut session = opened(&kv).await;
        prepare(&mut session, train_options()).await.unwrap();
        session.train_step().await.unwrap();
        kv.writes_left.set(0);
        let saving = session.train_step().await.unwrap().unwrap().checkpoint.unwrap();
        let error = saving.error.unwrap();
        assert_eq!(error.code, "quota-exceeded");
        assert!(
            error.message.contains("a checkpoint of ") && error.message.contains(" bytes"),
            "{}",
            error.message
        );
        let mut last = 2;
        while let Some(log) = session.train_step().await.unwrap() {
            last = log.step;
        }
        assert_eq!(last, STEPS);
        assert_eq!(RunRecord::load(&kv, "mine").await.unwrap().saved.len(), 1);
    });
}

#[test]
fn only_the_last_checkpoints_are_kept_and_damaged_ones_are_passed_over() {
    block_on(async {
        let kv = Limited::new(Code::Io);
        import(&kv).await;
        let mut session = opened(&kv).await;
        prepare(&mut session, train_options()).await.unwrap();
        for _ in 0..4 {
            session.train_step().await.unwrap();
        }
        let steps: Vec<u32> =
            RunRecord::load(&kv, "mine").await.unwrap().saved.iter().map(|saved| saved.step).collect();
        assert_eq!(steps, [3, 4]);
        let pieces = kv.scan(Table::Checkpoints, None).await.unwrap();
        let names: Vec<&str> = pieces.iter().map(|(key, _)| key.name.as_str()).collect();
        assert!(
            names.len() >= 2 && names.iter().all(|name| ["mine/2", "mine/3"].contains(name)),
            "{names:?}"
        );

        // As many as before the run was taken up again.
        let mut train = train_options();
        train["save_total_limit"] = json!(3);
        prepare(&mut session, train).await.unwrap();
        session.train_step().await.unwrap();
        let kept = RunRecord::load(&kv, "mine").await.unwrap().saved;
        assert_eq!(kept.iter().map(|saved| saved.step).collect::<Vec<_>>(), [3, 4, 5]);
        let pieces = kv.scan(Table::Checkpoints, None).await.unwrap();

        let (key, mut bytes) = pieces.last().unwrap().clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        kv.write(vec![Write::Put(key, bytes)]).await.unwrap();
        let (found, damaged) = runs::latest(&kv, "mine").await.unwrap().unwrap();
        assert_eq!((found.header.progress.step, damaged), (4, vec![5]));
        for (key, _) in kv.scan(Table::Checkpoints, None).await.unwrap() {
            kv.write(vec![Write::RemoveFrom(key)]).await.unwrap();
        }
        let error = runs::latest(&kv, "mine").await.unwrap_err();
        assert!(error.message.contains("damaged or gone"), "{error}");
        runs::delete(&kv, "mine").await.unwrap();
        assert!(runs::latest(&kv, "mine").await.unwrap().is_none());
    });
}

#[test]
fn checkpoints_that_the_browser_cleared_are_missed_and_a_new_run_replaces_the_old_one() {
    block_on(async {
        let kv = Limited::new(Code::Io);
        import(&kv).await;
        let mut session = opened(&kv).await;
        prepare(&mut session, train_options()).await.unwrap();
        for _ in 0..2 {
            assert!(!session.train_step().await.unwrap().unwrap().checkpoint.unwrap().cleared);
        }
        kv.write(vec![Write::RemoveFrom(Key::new(Table::Runs, "mine", 0))]).await.unwrap();
        assert!(session.train_step().await.unwrap().unwrap().checkpoint.unwrap().cleared);

        let mut anew = train_options();
        anew["seed"] = json!(6);
        session.train_step().await.unwrap();
        let options = PrepareOptions {
            lora: json!({"r": 8}),
            train: anew,
            dataset: "rows",
            run_name: Some("mine"),
            overwrite: true,
            ..Default::default()
        };
        session.prepare(options).await.unwrap();
        session.train_step().await.unwrap();
        let saved = RunRecord::load(&kv, "mine").await.unwrap().saved;
        assert_eq!(
            saved.iter().map(|saved| saved.step).collect::<Vec<_>>(),
            [1],
            "those of the old run are gone"
        );
    });
}

#[test]
fn another_run_is_not_resumed_and_what_differs_is_said() {
    block_on(async {
        let kv = Limited::new(Code::Io);
        import(&kv).await;
        let mut session = opened(&kv).await;
        prepare(&mut session, train_options()).await.unwrap();
        session.train_step().await.unwrap();
        let mut other = train_options();
        other["learning_rate"] = json!(2e-3);
        let error = prepare(&mut session, other).await.unwrap_err();
        assert_eq!(error.code, Code::BadOption);
        assert_eq!(
            error.message,
            "train.learning_rate is 0.002, but was 0.001 in the run that is to be resumed; to train on with other \
             options, save its adapter and begin a run with that as init_adapter"
        );
        // What changes no number may change.
        let mut free = train_options();
        free["save_steps"] = json!(3);
        assert_eq!(prepare(&mut session, free).await.unwrap(), Some(1));

        let data = Directory("www/data".into());
        let (rows, options) = (kv.clone(), ImportOptions::default());
        import_file(rows, "rows", &data, "faq.heldout.jsonl", options, &mut |_, _| {}).await.expect("rows");
        let error = prepare(&mut session, train_options()).await.unwrap_err();
        assert!(error.message.contains("another dataset"), "{error}");
        import(&kv).await;
        let model = Directory("tests/fixtures/models/llama3_bf16_untied/model".into());
        session.load_model(&model, &json!({"load_in_4bit": true}), &mut |_| {}).await.expect("another model");
        let error = prepare(&mut session, train_options()).await.unwrap_err();
        assert!(error.message.contains("another model"), "{error}");
    });
}

#[test]
fn a_run_does_not_replace_another_one_s_checkpoints_unless_told_to() {
    block_on(async {
        let kv = Limited::new(Code::Io);
        import(&kv).await;
        let mut session = opened(&kv).await;
        prepare(&mut session, train_options()).await.unwrap();
        for _ in 0..2 {
            session.train_step().await.unwrap();
        }
        let kept = RunRecord::load(&kv, "mine").await.unwrap();
        let mut other = train_options();
        other["max_steps"] = json!(1);
        let error = prepare_as(&mut session, other.clone(), false).await.unwrap_err();
        assert_eq!(error.code, Code::BadState);
        for way in ["up to step 2", "train.max_steps is 1, but was 6", "run_name", "overwrite", "resume_from"]
        {
            assert!(error.message.contains(way), "{way}: {error}");
        }
        assert_eq!(RunRecord::load(&kv, "mine").await.unwrap(), kept);
        // The same run may begin anew, and a name without checkpoints is free.
        assert_eq!(prepare_as(&mut session, train_options(), false).await.unwrap(), None);

        let options = PrepareOptions {
            lora: json!({"r": 8, "lora_dropout": 0.1}),
            train: other,
            dataset: "rows",
            run_name: Some("mine"),
            overwrite: true,
            ..Default::default()
        };
        session.prepare(options).await.unwrap();
        assert_eq!(RunRecord::load(&kv, "mine").await.unwrap(), kept, "until the first checkpoint");
        session.train_step().await.unwrap();
        let steps: Vec<u32> =
            RunRecord::load(&kv, "mine").await.unwrap().saved.iter().map(|saved| saved.step).collect();
        assert_eq!(steps, [1]);
    });
}

#[test]
fn a_tuning_that_cannot_be_kept_fails_nothing() {
    block_on(async {
        let kv = Limited::new(Code::QuotaExceeded);
        let mut session = opened(&kv).await;
        kv.writes_left.set(0);
        session
            .tune(&[Tile::for_adapter(session.adapter())], 0.1)
            .await
            .expect("it is found again another time");
    });
}

#[test]
fn an_option_that_a_saved_run_does_not_know_had_its_default() {
    let options = |train: Value| Map::from_iter([("train".to_owned(), train)]);
    let saved = Identity { options: options(json!({"seed": 42})), ..Default::default() };
    let with = |packing: bool| Identity {
        options: options(json!({"seed": 42, "packing": packing})),
        ..Default::default()
    };
    saved.expect(&with(false)).unwrap();
    assert_eq!(saved.expect(&with(true)).unwrap_err().code, Code::BadOption);
}

#[test]
fn a_run_from_another_adapter_is_another_run_but_resumes() {
    let from =
        |adapter: Option<&str>| Identity { init_adapter: adapter.map(str::to_owned), ..Default::default() };
    let saved = from(Some("a"));
    assert!(saved.difference(&from(Some(""))).is_some_and(|(code, _)| code == Code::BadState));
    assert_eq!(saved.difference(&from(Some("a"))), None);
    // Earlier builds did not note it.
    assert_eq!(from(None).difference(&from(Some("a"))), None);
    saved.expect(&from(Some(""))).unwrap();
}

#[test]
fn a_checkpoint_on_request_has_all_steps_and_their_logs() {
    block_on(async {
        let kv = Limited::new(Code::Io);
        import(&kv).await;
        let mut train = train_options();
        train["save_steps"] = Value::Null;
        let mut session = opened(&kv).await;
        prepare(&mut session, train.clone()).await.unwrap();
        let first = session.train_step().await.unwrap().unwrap();
        let (logs, saving) = session.save_checkpoint().await.unwrap();
        let saved = saving.unwrap().step;
        assert_eq!(logs.iter().map(|log| log.step).collect::<Vec<_>>(), (2..=saved).collect::<Vec<_>>());
        let (found, _) = runs::latest(&kv, "mine").await.unwrap().unwrap();
        assert_eq!(found.header.log.len(), saved as usize);
        assert_eq!(found.header.log[0], Line::Step(first.log));
        drop(session);
        let mut session = opened(&kv).await;
        assert_eq!(prepare(&mut session, train).await.unwrap(), Some(saved));
    });
}

#[test]
fn a_run_whose_numbers_go_wrong_goes_back_with_half_the_learning_rate_or_stops() {
    block_on(async {
        let kv = Limited::new(Code::Io);
        import(&kv).await;
        let mut train = train_options();
        // The step after the warm-up throws the adapter out of what f32 holds.
        for (option, value) in
            [("learning_rate", json!(1e30)), ("warmup_steps", json!(0)), ("max_steps", json!(40))]
        {
            train[option] = value;
        }
        let mut session = opened(&kv).await;
        prepare(&mut session, train.clone()).await.unwrap();
        let (logs, error) = until_it_fails(&mut session).await;
        assert_eq!(error.code, Code::NotFinite);
        assert!(error.message.contains("went back three times"), "{error}");
        assert_eq!(logs.iter().filter(|log| log.rewound_to.is_some()).count(), 3);
        let skipped = logs.last().unwrap().skipped_steps;
        assert!(skipped >= 9, "{skipped} skipped steps");
        let (kept, _) = runs::latest(&kv, "mine").await.unwrap().unwrap();
        let Progress { rewinds, learning_rate_scale, .. } = kept.header.progress;
        assert_eq!((rewinds, learning_rate_scale), (3, 0.125), "a tab that is closed now changes nothing");

        // A run that begins anew has nothing to go back to, though the one before it left its checkpoints.
        train["save_steps"] = Value::Null;
        prepare_as(&mut session, train.clone(), false).await.unwrap();
        let (logs, error) = until_it_fails(&mut session).await;
        assert!(logs.iter().all(|log| log.rewound_to.is_none()));
        assert!(error.message.contains("no checkpoint to go back to"), "{error}");
        train["save_steps"] = json!(1);

        train["on_not_finite"] = json!("stop");
        runs::delete(&kv, "mine").await.unwrap();
        prepare(&mut session, train).await.unwrap();
        let (logs, error) = until_it_fails(&mut session).await;
        assert!(logs.iter().all(|log| log.rewound_to.is_none()));
        assert!(error.message.contains("none was applied"), "{error}");
    });
}

fn sample(values: &[f32], loss: f64) -> Checkpoint {
    let header = Header {
        identity: Identity {
            model: "m".into(),
            dataset: "d".into(),
            eval_dataset: None,
            init_adapter: Some(String::new()),
            options: Map::from_iter([("train".to_owned(), json!({"seed": 1}))]),
        },
        progress: Progress { step: 7, ..Default::default() },
        log: vec![Line::Eval(EvalLog { step: 7, eval_loss: loss, tokens: 90, rows: 3 })],
        ..Default::default()
    };
    Checkpoint { header, tensors: vec![values.to_vec(), Vec::new(), vec![1.0]] }
}

#[test]
fn losses_that_are_no_numbers_come_back_as_such() {
    for loss in [f64::NAN, f64::INFINITY] {
        let bytes = sample(&[], loss).to_bytes();
        let [Line::Eval(line)] = &Checkpoint::from_bytes(&bytes).unwrap().header.log[..] else { panic!() };
        assert!(line.eval_loss.is_nan());
    }
}

proptest! {
    #[test]
    fn a_checkpoint_comes_back_whole_or_not_at_all(
        values in prop::collection::vec(any::<i16>(), 0..40),
        loss in prop::num::f64::NORMAL,
        flip: prop::sample::Index,
    ) {
        let values: Vec<f32> = values.into_iter().map(|value| f32::from(value) / 8.0).collect();
        let checkpoint = sample(&values, loss);
        let bytes = checkpoint.to_bytes();
        prop_assert_eq!(&Checkpoint::from_bytes(&bytes).unwrap(), &checkpoint);
        for length in 0..bytes.len() {
            prop_assert_eq!(Checkpoint::from_bytes(&bytes[..length]).unwrap_err().code, Code::BadState, "{} bytes", length);
        }
        let mut flipped = bytes.clone();
        flipped[flip.index(bytes.len())] ^= 0x10;
        prop_assert!(Checkpoint::from_bytes(&flipped).is_err());
        let longer = [bytes.as_slice(), &[0]].concat();
        prop_assert!(Checkpoint::from_bytes(&longer).is_err());
    }
}
