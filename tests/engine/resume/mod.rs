//! A run that is cut off anywhere and resumed is, to the bit, one that never was.

mod carried;
mod masters;
mod mezo;
mod preferences;
mod rounds;

use std::cell::Cell;
use std::rc::Rc;

use pollster::block_on;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tabtune::cpu::Cpu;
use tabtune::data::import::import_file;
use tabtune::data::kv::{Key, Kv, MemoryKv, Table, Write};
use tabtune::data::library::ImportOptions;
use tabtune::data::rename::rename;
use tabtune::device::Device;
use tabtune::error::{Code, Error, Result};
use tabtune::files::Directory;
use tabtune::kernels::linear::Tile;
use tabtune::session::{PrepareOptions, RunLog, Session};
use tabtune::train::saved::{
    self, Header, Identity, Keep, LogRecords, PIECE_BYTES, Progress, RunRecord, State, TensorShape,
};
use tabtune::train::{EvalLog, Line};

use crate::gpu::gpu;

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

#[async_trait::async_trait(?Send)]
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

/// A session with the bundled model and rows in `kv`, as a page that is opened anew has it. It is on the processor,
/// where a run is cut and goes on as it does on a GPU.
async fn opened(kv: &Rc<Limited>) -> Session {
    opened_on(processor(None), kv).await
}

fn processor(workers: Option<usize>) -> Device {
    Cpu::open(workers).expect("threads can be started").into()
}

async fn opened_on(device: Device, kv: &Rc<Limited>) -> Session {
    let mut session = Session::on(device, kv.clone());
    let model = Directory("../www/models/tiny".into());
    session.load_model(&model, &json!({"load_in_4bit": true}), &mut |_| {}).await.expect("the model loads");
    session
}

async fn import(kv: &Rc<Limited>) {
    let data = Directory("../www/data".into());
    let options = ImportOptions::default();
    import_file(kv.clone(), "rows", &data, "faq.jsonl", options, &mut |_, _| {}).await.expect("rows");
}

/// Prepares the run "mine" and returns the step that it goes on from.
async fn prepare(session: &mut Session, train: Value) -> Result<Option<u32>> {
    prepare_as(session, train, true).await
}

async fn prepare_as(
    session: &mut Session,
    train: Value,
    resume_from_checkpoint: bool,
) -> Result<Option<u32>> {
    let plan = session.prepare(PrepareOptions { resume_from_checkpoint, ..mine(train) }).await?;
    Ok(plan.resumed.map(|resumed| resumed.step))
}

/// The run "mine" of the bundled rows, from its last checkpoint.
fn mine(train: Value) -> PrepareOptions<'static> {
    PrepareOptions {
        lora: json!({"r": 8, "lora_dropout": 0.1}),
        train,
        dataset: "rows",
        run_name: Some("mine"),
        resume_from_checkpoint: true,
        ..Default::default()
    }
}

/// The steps that a run takes before it fails, and how.
async fn until_it_fails(session: &mut Session) -> (Vec<RunLog>, Error) {
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

async fn finish(session: &mut Session) -> Result<Outcome> {
    let mut losses = Vec::new();
    while let Some(log) = session.train_step().await? {
        losses.push(bits(&log));
    }
    Ok((losses, session.save(None).await?["adapter_model.safetensors"].to_vec()))
}

fn bits(log: &RunLog) -> (u32, u64) {
    (log.step, log.loss.to_bits())
}

#[test]
fn a_run_that_is_cut_after_any_step_ends_as_one_that_was_not() {
    block_on(async {
        let whole = uncut(processor(Some(1)), train_options()).await;
        for cut in 1..STEPS {
            let devices = [processor(Some(cut as usize)), processor(Some(STEPS as usize - cut as usize))];
            assert!(cut_after(cut, devices, train_options()).await == whole, "cut after step {cut}");
        }
    });
}

/// What learns beside factors is in a checkpoint too.
#[test]
fn a_run_of_more_than_factors_goes_on_where_it_was() {
    let options = |resume_from_checkpoint: bool| PrepareOptions {
        lora: json!({
            "r": 4, "use_dora": true, "lora_dropout": 0.1, "modules_to_save": ["embed_tokens", "norm"], "bias": "all"
        }),
        resume_from_checkpoint,
        ..mine(train_options())
    };
    block_on(async {
        for device in [processor(None), gpu()] {
            let kv = Limited::new(Code::Io);
            import(&kv).await;
            let mut session = opened_on(device.clone(), &kv).await;
            session.prepare(options(false)).await.expect("a run");
            for _ in 0..3 {
                session.train_step().await.expect("a step").expect("a step is left");
            }
            drop(session);
            let mut session = opened_on(device, &kv).await;
            let plan = session.prepare(options(true)).await.expect("a run");
            assert_eq!(plan.resumed.map(|resumed| resumed.step), Some(3));
            let resumed = finish(&mut session).await.expect("the other steps");
            session.prepare(PrepareOptions { overwrite: true, ..options(false) }).await.expect("a run");
            let whole = finish(&mut session).await.expect("all steps");
            assert!(whole.0[3..] == resumed.0 && whole.1 == resumed.1, "{:?} and {:?}", whole.0, resumed.0);
        }
    });
}

#[test]
fn a_run_that_is_cut_on_a_gpu_ends_as_one_that_was_not() {
    block_on(async {
        let gpu = gpu();
        let whole = uncut(gpu.clone(), train_options()).await;
        assert!(cut_after(3, [gpu.clone(), gpu], train_options()).await == whole);
    });
}

/// Its moments are those of matrices, which are saved apart from segments.
#[test]
fn a_run_by_adafactor_that_is_cut_ends_as_one_that_was_not() {
    block_on(async {
        let mut train = train_options();
        train["optim"] = json!("adafactor");
        let whole = uncut(processor(Some(1)), train.clone()).await;
        assert!(whole != uncut(processor(Some(1)), train_options()).await, "AdamW ends elsewhere");
        let devices = [processor(Some(1)), processor(Some(2))];
        assert!(cut_after(3, devices, train).await == whole);
    });
}

/// How a run ends that nothing cuts.
async fn uncut(device: Device, train: Value) -> Outcome {
    let kv = Limited::new(Code::Io);
    import(&kv).await;
    let mut session = opened_on(device, &kv).await;
    assert_eq!(prepare(&mut session, train).await.unwrap(), None);
    let outcome = finish(&mut session).await.unwrap();
    assert_eq!(outcome.0.len(), STEPS as usize);
    outcome
}

/// How a run ends whose tab goes away after the step `cut`, and which goes on in the next one.
async fn cut_after(cut: u32, [device, next]: [Device; 2], train: Value) -> Outcome {
    let kv = Limited::new(Code::Io);
    import(&kv).await;
    let mut session = opened_on(device, &kv).await;
    prepare(&mut session, train.clone()).await.unwrap();
    let mut losses = Vec::new();
    for _ in 0..cut {
        losses.push(bits(&session.train_step().await.unwrap().expect("a step is left")));
    }
    // The tab is gone, with whatever was on its way.
    drop(session);
    let mut session = opened_on(next, &kv).await;
    // A tuner that would choose anew must not change the run.
    session.set_tile(Tile::Shared32);
    assert_eq!(prepare(&mut session, train).await.unwrap(), Some(cut));
    let (rest, adapter) = finish(&mut session).await.unwrap();
    losses.extend(rest);
    (losses, adapter)
}

#[test]
fn a_run_goes_on_on_another_kind_of_device_only_by_choice() {
    block_on(async {
        for [began, goes_on] in [[processor(None), gpu()], [gpu(), processor(None)]] {
            let kv = Limited::new(Code::Io);
            import(&kv).await;
            let names = [began.flavour(), goes_on.flavour()];
            let mut session = opened_on(began, &kv).await;
            prepare(&mut session, train_options()).await.unwrap();
            session.train_step().await.unwrap();
            drop(session);

            let mut session = opened_on(goes_on, &kv).await;
            let error = prepare(&mut session, train_options()).await.unwrap_err();
            assert_eq!(error.code, Code::BadState);
            for part in [names[0].as_str(), names[1].as_str(), "resume_on_other_device"] {
                assert!(error.message.contains(part), "{part}: {error}");
            }
            let options = PrepareOptions { resume_on_other_device: true, ..mine(train_options()) };
            let plan = session.prepare(options).await.unwrap();
            assert_eq!(plan.resumed.map(|resumed| resumed.step), Some(1));
            let codes: Vec<&str> = plan.notices.iter().map(|notice| notice.code.as_str()).collect();
            assert!(codes.contains(&"device-replaced"), "{codes:?}");
            session.train_step().await.unwrap().expect("a step is left");
            drop(session);
            // What it was saved by there is what it goes on by from now on.
            let mut session = opened_on(
                match names[1].as_str() {
                    "webgpu" => gpu(),
                    _ => processor(None),
                },
                &kv,
            )
            .await;
            assert_eq!(prepare(&mut session, train_options()).await.unwrap(), Some(2));
        }
    });
}

#[test]
fn a_run_that_is_named_after_rows_with_another_name_now_is_not_begun_anew_unasked() {
    block_on(async {
        let kv = Limited::new(Code::Io);
        import(&kv).await;
        let mut session = opened(&kv).await;
        let named = |run_name: &'static str, resume_from_checkpoint: bool| PrepareOptions {
            dataset: "facts",
            run_name: Some(run_name),
            resume_from_checkpoint,
            ..mine(train_options())
        };
        let of_rows = PrepareOptions { run_name: Some("rows"), ..mine(train_options()) };
        session.prepare(of_rows).await.unwrap();
        session.train_step().await.unwrap();
        rename(&kv, "rows", "facts").await.unwrap();
        // The tokens lie under the rows' own name, so the run does not notice.
        session.train_step().await.unwrap().expect("a step is left");

        let error = session.prepare(named("facts", true)).await.unwrap_err();
        assert_eq!(error.code, Code::BadState);
        assert!(error.message.contains("\"rows\" learnt from it until step 2"), "{error}");
        let plan = session.prepare(named("rows", true)).await.unwrap();
        assert_eq!(plan.resumed.map(|resumed| resumed.step), Some(2));
        for asked in [named("facts", false), named("other", true)] {
            assert!(session.prepare(asked).await.unwrap().resumed.is_none());
        }
    });
}

#[test]
fn a_kill_in_the_midst_of_saving_leaves_the_checkpoint_before() {
    block_on(async {
        let kv = Limited::new(Code::Io);
        import(&kv).await;
        let mut session = opened(&kv).await;
        let mut train = train_options();
        train["max_steps"] = json!(STEPS + 1);
        prepare(&mut session, train).await.unwrap();
        session.train_step().await.unwrap();
        // What a kill left behind goes, parameters and two moments come, and then all that names them.
        for writes in 0..5 {
            kv.writes_left.set(writes);
            let log = session.train_step().await.unwrap().unwrap();
            let saving = log.checkpoint.expect("a checkpoint was due");
            let error = saving.error.expect("it could not be saved");
            assert_eq!(error.code, "io");
            kv.writes_left.set(usize::MAX);
            let found = saved::latest(&kv, "mine").await.unwrap().expect("the one before");
            assert_eq!((found.header.progress.step, found.damaged), (1, vec![]));
            assert_eq!(found.log.len(), 1);
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
        let found = saved::latest(&kv, "mine").await.unwrap().unwrap();
        assert_eq!((found.header.progress.step, found.damaged), (4, vec![5]));
        assert_eq!(found.log.len(), 4, "lines of later steps do not count");
        for (key, _) in kv.scan(Table::Checkpoints, None).await.unwrap() {
            kv.write(vec![Write::RemoveFrom(key)]).await.unwrap();
        }
        let error = saved::latest(&kv, "mine").await.map(drop).unwrap_err();
        assert!(error.message.contains("damaged or gone"), "{error}");
        saved::delete(&kv, "mine").await.unwrap();
        assert!(saved::latest(&kv, "mine").await.unwrap().is_none());
        assert!(kv.scan(Table::RunLogs, None).await.unwrap().is_empty());
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

        let data = Directory("../www/data".into());
        let (rows, options) = (kv.clone(), ImportOptions::default());
        import_file(rows, "rows", &data, "faq.heldout.jsonl", options, &mut |_, _| {}).await.expect("rows");
        let error = prepare(&mut session, train_options()).await.unwrap_err();
        assert!(error.message.contains("another dataset"), "{error}");
        import(&kv).await;
        let model = Directory("fixtures/models/llama3_bf16_untied/model".into());
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
        let mut session = opened_on(gpu(), &kv).await;
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
        let done = saving.unwrap().step;
        assert_eq!(logs.iter().map(|log| log.step).collect::<Vec<_>>(), (2..=done).collect::<Vec<_>>());
        let found = saved::latest(&kv, "mine").await.unwrap().unwrap();
        assert_eq!(found.log.len(), done as usize);
        assert_eq!(found.log[0], Line::Step(first.log));
        drop(session);
        let mut session = opened(&kv).await;
        assert_eq!(prepare(&mut session, train).await.unwrap(), Some(done));
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
        let kept = saved::latest(&kv, "mine").await.unwrap().unwrap();
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
        saved::delete(&kv, "mine").await.unwrap();
        prepare(&mut session, train).await.unwrap();
        let (logs, error) = until_it_fails(&mut session).await;
        assert!(logs.iter().all(|log| log.rewound_to.is_none()));
        assert!(error.message.contains("none was applied"), "{error}");
    });
}

/// Values in memory.
struct Values(Vec<Vec<u8>>);

impl Values {
    fn new(tensors: &[&[f32]]) -> Self {
        Values(
            tensors
                .iter()
                .map(|values| values.iter().flat_map(|value| value.to_le_bytes()).collect())
                .collect(),
        )
    }

    fn empty_like(other: &Values) -> Self {
        Values(other.0.iter().map(|bytes| vec![0xff; bytes.len()]).collect())
    }
}

impl State for Values {
    fn tensors(&self) -> Vec<TensorShape> {
        let shape = |bytes: &Vec<u8>| TensorShape { name: "t".into(), values: bytes.len() as u64 / 4 };
        self.0.iter().map(shape).collect()
    }

    async fn read(&mut self, tensor: usize, first: u64, count: usize) -> Result<Vec<u8>> {
        Ok(self.0[tensor][4 * first as usize..][..4 * count].to_vec())
    }

    fn write(&mut self, tensor: usize, first: u64, values: &[u8]) {
        self.0[tensor][4 * first as usize..][..values.len()].copy_from_slice(values);
    }
}

fn line(step: u32, eval_loss: f64) -> Line {
    Line::Eval(EvalLog { step, eval_loss, tokens: 90, rows: 3, ..EvalLog::default() })
}

/// Saves a run "mine" of two tensors, one of them empty, in an empty store, and returns that.
async fn sample(state: &mut Values, loss: f64) -> MemoryKv {
    let identity = Identity {
        model: "m".into(),
        options: Map::from_iter([("train".to_owned(), json!({"seed": 1}))]),
        ..Identity::default()
    };
    let header =
        Header::new(identity, Progress { step: 7, ..Default::default() }, Tile::Shared64.into(), "webgpu");
    let kv = MemoryKv::default();
    let record = RunRecord::load(&kv, "mine").await.unwrap();
    let (log, mut kept) = ([line(7, loss)], LogRecords::default());
    saved::save(&kv, "mine", record, (header, state), (&log, &mut kept), Keep { last: 1, best: None })
        .await
        .unwrap()
        .unwrap();
    kv
}

/// All records of a run's checkpoints, its log and its record.
async fn records(kv: &MemoryKv) -> Vec<(Key, Vec<u8>)> {
    let mut all = Vec::new();
    for table in [Table::Checkpoints, Table::RunLogs, Table::Runs] {
        all.extend(kv.scan(table, None).await.unwrap());
    }
    all
}

#[test]
fn losses_that_are_no_numbers_come_back_as_such() {
    block_on(async {
        for loss in [f64::NAN, f64::INFINITY] {
            let kv = sample(&mut Values::new(&[&[]]), loss).await;
            let log = saved::latest(&kv, "mine").await.unwrap().unwrap().log;
            let [Line::Eval(line)] = &log[..] else { panic!() };
            assert!(line.eval_loss.is_nan());
        }
    });
}

#[test]
fn no_record_of_a_run_is_larger_than_a_piece() {
    block_on(async {
        // Two pieces and a bit more, and one that fills its piece.
        let values = |count: usize| (0..count).map(|i| i as f32).collect::<Vec<f32>>();
        let (one, other) = (values(2 * PIECE_BYTES / 4 + 3), values(PIECE_BYTES / 4));
        let mut state = Values::new(&[&one, &other]);
        let kv = sample(&mut state, 1.0).await;
        let lengths: Vec<usize> = records(&kv).await.iter().map(|(_, bytes)| bytes.len()).collect();
        assert_eq!(lengths[1..5], [PIECE_BYTES, PIECE_BYTES, 12, PIECE_BYTES]);
        assert!(lengths.iter().all(|&length| length <= PIECE_BYTES), "{lengths:?}");
        let found = saved::latest(&kv, "mine").await.unwrap().unwrap();
        let mut restored = Values::empty_like(&state);
        saved::restore(&kv, "mine", &found, &mut restored).await.unwrap();
        assert!(restored.0 == state.0);
        let error = saved::restore(&kv, "mine", &found, &mut Values::new(&[&one])).await.unwrap_err();
        assert!(error.message.contains("another size"), "{error}");
    });
}

#[test]
fn the_log_is_not_written_again_with_each_checkpoint() {
    block_on(async {
        let kv = MemoryKv::default();
        let mut kept = LogRecords::default();
        let mut log = Vec::new();
        let save = async |step: u32, log: &[Line], kept: &mut LogRecords| {
            let record = RunRecord::load(&kv, "mine").await.unwrap();
            let progress = Progress { step, ..Default::default() };
            let header = Header::new(Identity::default(), progress, Tile::Shared64.into(), "webgpu");
            let mut state = Values::new(&[&[1.0]]);
            saved::save(&kv, "mine", record, (header, &mut state), (log, kept), Keep { last: 2, best: None })
                .await
                .unwrap()
                .unwrap();
        };
        for step in 1..=300 {
            log.push(line(step, f64::from(step)));
            if step % 50 == 0 {
                save(step, &log, &mut kept).await;
            }
        }
        let before = kv.scan(Table::RunLogs, Some("mine")).await.unwrap();
        assert!(before.len() >= 3, "{} records", before.len());
        // What was written once and is full is not touched: it would be found changed.
        let full = before[0].0.clone();
        kv.write(vec![Write::Put(full.clone(), b"touched".to_vec())]).await.unwrap();
        log.push(line(301, 301.0));
        save(301, &log, &mut kept).await;
        assert_eq!(kv.get_one(full.clone()).await.unwrap().unwrap(), b"touched");
        kv.write(vec![Write::Put(full, before[0].1.clone())]).await.unwrap();
        let found = saved::latest(&kv, "mine").await.unwrap().unwrap();
        assert_eq!(found.log, log);

        // A run that went back to step 300 has other lines from there on, whatever the store holds behind them.
        let (checkpoint, _) = kv.scan(Table::Checkpoints, Some("mine/6")).await.unwrap()[0].clone();
        kv.write(vec![Write::RemoveFrom(checkpoint)]).await.unwrap();
        let mut found = saved::latest(&kv, "mine").await.unwrap().unwrap();
        assert_eq!((found.header.progress.step, found.log.len(), &found.damaged), (300, 300, &vec![301]));
        found.log.push(line(301, -1.0));
        found.log.push(line(302, -2.0));
        save(302, &found.log, &mut found.kept).await;
        assert_eq!(saved::latest(&kv, "mine").await.unwrap().unwrap().log, found.log);
    });
}

#[test]
fn a_run_of_a_later_version_is_neither_resumed_nor_replaced() {
    block_on(async {
        let version_after = |text: &str| text.replace("\"version\":2", "\"version\":3");
        let kv = sample(&mut Values::new(&[&[1.0]]), 1.0).await;
        for (key, bytes) in kv.scan(Table::Runs, None).await.unwrap() {
            let json = version_after(str::from_utf8(&bytes).unwrap());
            kv.write(vec![Write::Put(key.clone(), json.into_bytes())]).await.unwrap();
            let record = RunRecord::load(&kv, "mine").await.unwrap();
            for error in [
                saved::latest(&kv, "mine").await.map(drop).unwrap_err(),
                saved::latest_identity(&kv, "mine").await.map(drop).unwrap_err(),
                record.expect_known("mine").unwrap_err(),
            ] {
                assert_eq!(error.code, Code::BadState);
                assert!(error.message.contains("later version of tabtune"), "{error}");
            }
            // Even one that looks different.
            kv.write(vec![Write::Put(key, b"{\"version\": 3, \"checkpoints\": []}".to_vec())]).await.unwrap();
            assert!(RunRecord::load(&kv, "mine").await.unwrap().expect_known("mine").is_err());
        }

        // A checkpoint says its own form.
        let kv = sample(&mut Values::new(&[&[1.0]]), 1.0).await;
        let (key, bytes) = kv.scan(Table::Checkpoints, None).await.unwrap()[0].clone();
        let mut later = b"tabtune checkpoint 3\n".to_vec();
        later.extend(&bytes[later.len()..]);
        kv.write(vec![Write::Put(key, later)]).await.unwrap();
        let error = saved::latest(&kv, "mine").await.map(drop).unwrap_err();
        assert!(error.message.contains("later version of tabtune, in form 3"), "{error}");
    });
}

#[test]
fn what_later_builds_say_beside_is_ignored_and_a_tile_that_is_gone_is_replaced() {
    let header = |tiles: Value| -> Header {
        serde_json::from_value(json!({
            "identity": {"version": 2, "model": "m", "dataset": "d", "weather": "fine"},
            "progress": {"step": 7, "tides": 3}, "tiles": tiles, "lines": 4, "tensors": [], "pieces": [], "hue": 1,
        }))
        .unwrap()
    };
    let found = header(json!({"default": "shared64", "choices": []}));
    assert_eq!((found.progress.step, found.progress.learning_rate_scale), (7, 1.0));
    assert_eq!(found.tiles, Some(Tile::Shared64.into()));
    let gone = json!({"direction": "forward", "rows": 8, "tile": "woven", "shape": {"cols": 8, "depth": 8, "format": "f32"}});
    for tiles in [
        json!({"default": "woven", "choices": []}),
        json!({"default": "shared64", "choices": [gone]}),
        json!(null),
    ] {
        assert_eq!(header(tiles).tiles, None);
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
        let mut state = Values::new(&[&values, &[], &[1.0]]);
        block_on(async {
            let kv = sample(&mut state, loss).await;
            let found = saved::latest(&kv, "mine").await.unwrap().unwrap();
            let mut restored = Values::empty_like(&state);
            saved::restore(&kv, "mine", &found, &mut restored).await.unwrap();
            prop_assert_eq!(&restored.0, &state.0);
            prop_assert_eq!(&found.log, &[line(7, loss)]);
            for (key, bytes) in kv.scan(Table::Checkpoints, None).await.unwrap() {
                let mut others: Vec<Vec<u8>> =
                    (0..bytes.len()).map(|length| bytes[..length].to_vec()).collect();
                let mut flipped = bytes.clone();
                flipped[flip.index(bytes.len())] ^= 0x40;
                others.extend([flipped, [bytes.as_slice(), &[0]].concat()]);
                for other in others {
                    kv.write(vec![Write::Put(key.clone(), other)]).await.unwrap();
                    prop_assert_eq!(
                        saved::latest(&kv, "mine").await.map(drop).unwrap_err().code,
                        Code::BadState
                    );
                }
                kv.write(vec![Write::Put(key.clone(), bytes)]).await.unwrap();
                prop_assert!(saved::latest(&kv, "mine").await.unwrap().is_some());
                let without = sample(&mut state, loss).await;
                without.write(vec![Write::RemoveFrom(key)]).await.unwrap();
                prop_assert!(saved::latest(&without, "mine").await.is_err());
            }
            Ok(())
        })?;
    }
}
