//! What earlier builds saved opens in this one: `tests/fixtures/saved` has a folder for each form of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use pollster::block_on;
use serde_json::{Value, json};
use tabtune::adapter::ADAPTER_WEIGHTS;
use tabtune::data::import::import_file;
use tabtune::data::kv::{Key, Kv, MemoryKv, Table, Write};
use tabtune::data::library::ImportOptions;
use tabtune::files::Directory;
use tabtune::session::{Plan, PrepareOptions, RunLog, Session};
use tabtune::train::Line;
use tabtune::train::saved::{self, RunExport, RunImport};
use xxhash_rust::xxh3::xxh3_128;

const FOLDER: &str = "fixtures/saved";
const MODEL: &str = "fixtures/models/smollm2_f16_tied/model";

type Native = Session;

async fn opened(kv: &Rc<MemoryKv>) -> Native {
    let mut session = Session::open(kv.clone()).await.expect("the tests need a GPU adapter");
    let quantization = json!({"load_in_4bit": true, "bnb_4bit_use_double_quant": true});
    session.load_model(&Directory(MODEL.into()), &quantization, &mut |_| {}).await.expect("the model loads");
    // Where the files lie is another place on each machine.
    session.set_base_name("someone/smollm2").expect("a model is loaded");
    session
}

/// Prepares the run that was saved: on the dataset "rows", under the name "kept".
async fn prepare(session: &mut Native, resume_from_checkpoint: bool) -> Plan {
    let options = PrepareOptions {
        lora: json!({"r": 2, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"]}),
        train: json!({
            "max_length": 40, "per_device_train_batch_size": 2, "max_steps": 4, "learning_rate": 1e-3,
            "lr_scheduler_type": "cosine", "warmup_steps": 1, "eval_steps": 1, "save_steps": 2, "seed": 5,
        }),
        dataset: "rows",
        eval_dataset: Some("rows"),
        run_name: Some("kept"),
        resume_from_checkpoint,
        ..Default::default()
    };
    session.prepare(options).await.expect("the run")
}

/// The next step, and the evaluation that is due after it.
async fn step(session: &mut Native) -> Option<RunLog> {
    let log = session.train_step().await.expect("a step")?;
    if log.eval_due {
        session.evaluate().await.expect("an evaluation");
    }
    Some(log)
}

/// The losses of the steps that are left, with all their bits, the hash of the adapter's weights then, and the GPU.
async fn finish(session: &mut Native) -> Value {
    let mut losses = Vec::new();
    while let Some(log) = step(session).await {
        losses.push(format!("{:016x}", log.loss.to_bits()));
    }
    let weights = &session.save(None).await.expect("the adapter")[ADAPTER_WEIGHTS];
    let device = session.adapter();
    json!({
        "losses": losses,
        "weights": format!("{:032x}", xxh3_128(&weights.to_vec())),
        "gpu": [device.name, device.driver],
    })
}

/// All records, one behind another: the length of the key (u32), the key as `table/number/name`, the length
/// of the record (u32), the record; little-endian.
fn to_bytes(records: &[(Key, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (Key { table, name, number }, record) in records {
        let key = format!("{}/{number}/{name}", table.as_str());
        for part in [key.as_bytes(), record] {
            bytes.extend((part.len() as u32).to_le_bytes());
            bytes.extend(part);
        }
    }
    bytes
}

const TABLES: [Table; 9] = [
    Table::Datasets,
    Table::Rows,
    Table::TokenSets,
    Table::Tokens,
    Table::TokenIndex,
    Table::Runs,
    Table::Checkpoints,
    Table::RunLogs,
    Table::Notes,
];

/// The records that [`to_bytes`] packed, in a store.
async fn stored(mut bytes: &[u8]) -> Rc<MemoryKv> {
    let mut part = || {
        let length = bytes.split_off(..4)?.try_into().expect("4 bytes");
        bytes.split_off(..u32::from_le_bytes(length) as usize)
    };
    let kv = Rc::new(MemoryKv::default());
    while let Some(key) = part() {
        let parts: Vec<&str> = str::from_utf8(key).expect("a key is text").splitn(3, '/').collect();
        let table = TABLES.into_iter().find(|table| table.as_str() == parts[0]).expect("a table");
        let key = Key::new(table, parts[2], parts[1].parse().expect("a number"));
        let record = part().expect("a record has a key and bytes");
        kv.write(vec![Write::Put(key, record.to_vec())]).await.unwrap();
    }
    kv
}

/// The folders of fixtures, one for each form that runs and datasets were saved in.
fn saved_before() -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(FOLDER).expect("the fixtures are there");
    entries.map(|entry| entry.expect("a folder can be listed").path()).filter(|path| path.is_dir())
}

#[test]
fn a_run_that_an_earlier_build_saved_goes_on() {
    block_on(async {
        let mut folders = 0;
        for folder in saved_before() {
            folders += 1;
            let kv = stored(&fs::read(folder.join("records.kv")).unwrap()).await;
            let mut session = opened(&kv).await;
            let resumed = prepare(&mut session, true).await.resumed.expect("it goes on");
            assert_eq!((resumed.step, resumed.damaged.len()), (2, 0), "{folder:?}");
            let steps: Vec<(u32, bool)> = resumed
                .log
                .iter()
                .map(|line| match line {
                    Line::Step(log) => (log.step, log.loss > 5.0),
                    Line::Eval(log) => (log.step, log.eval_loss > 5.0),
                })
                .collect();
            assert_eq!(steps, [(1, true), (1, true), (2, true)], "{folder:?}");
            for (name, bytes) in session.save(None).await.unwrap() {
                assert!(
                    fs::read(folder.join("adapter").join(&name)).unwrap() == bytes.to_vec(),
                    "{folder:?}: {name}"
                );
            }
            // What follows has the same bits where the same GPU computes it.
            let json = fs::read(folder.join("finished.json")).unwrap();
            let before: Value = serde_json::from_slice(&json).unwrap();
            let after = finish(&mut session).await;
            if before["gpu"] == after["gpu"] {
                assert_eq!(after, before, "{folder:?}");
            }
        }
        assert!(folders > 0);
    });
}

/// What was saved in an earlier form is taken out as it is, and goes on elsewhere.
#[test]
fn a_run_that_an_earlier_build_saved_goes_on_in_another_browser() {
    block_on(async {
        for folder in saved_before() {
            let kv = stored(&fs::read(folder.join("records.kv")).unwrap()).await;
            let mut export = RunExport::begin(&*kv, "kept").await.expect("a run");
            let mut import = RunImport::begin(&*kv, "elsewhere", false).await.expect("room");
            while let Some(piece) = export.next(&*kv).await.expect("it is there") {
                import.push(&*kv, &piece).await.expect("it is whole");
            }
            assert_eq!(import.finish(&*kv).await.expect("it is whole").step, 2);
            let [here, there] = [saved::latest(&*kv, "kept").await, saved::latest(&*kv, "elsewhere").await]
                .map(|found| found.unwrap().unwrap());
            assert_eq!((here.header, here.log), (there.header, there.log), "{folder:?}");
        }
    });
}

/// Gives the default tile of a run's last checkpoint a name that no tile has.
async fn forget_tile(kv: &MemoryKv) {
    let (key, record) =
        kv.scan(Table::Checkpoints, None).await.unwrap().into_iter().rfind(is_header).unwrap();
    let text = String::from_utf8(record).expect("a header is text");
    let (form, rest) = text.split_once('\n').expect("a form and a header");
    let mut header: Value = serde_json::from_str(&rest[32..]).expect("a header is JSON");
    header["tiles"]["default"] = json!("woven");
    let json = header.to_string();
    let record = format!("{form}\n{:032x}{json}", xxh3_128(json.as_bytes()));
    kv.write(vec![Write::Put(key, record.into_bytes())]).await.unwrap();
}

fn is_header((key, _): &(Key, Vec<u8>)) -> bool {
    key.number == 0
}

#[test]
fn a_tile_that_this_build_has_not_is_replaced_and_the_plan_says_so() {
    block_on(async {
        let kv = stored(&fs::read(Path::new(FOLDER).join("1/records.kv")).unwrap()).await;
        let mut session = opened(&kv).await;
        prepare(&mut session, true).await;
        // In the form of this build.
        session.save_checkpoint().await.expect("a checkpoint");
        let codes = |plan: Plan| plan.notices.into_iter().map(|notice| notice.code).collect::<Vec<_>>();
        assert!(!codes(prepare(&mut session, true).await).contains(&"tiles-replaced".to_owned()));
        forget_tile(&kv).await;
        let plan = prepare(&mut session, true).await;
        assert_eq!(plan.resumed.as_ref().map(|resumed| resumed.step), Some(2));
        assert_eq!(codes(plan), ["tiles-replaced"]);
        assert!(session.train_step().await.unwrap().is_some());
    });
}

#[test]
fn an_adapter_that_an_earlier_build_saved_loads_and_is_saved_as_it_was() {
    block_on(async {
        let kv = Rc::new(MemoryKv::default());
        let mut session = opened(&kv).await;
        for folder in saved_before() {
            let files = folder.join("adapter");
            let adapter = session.load_adapter("kept", &Directory(files.clone())).await.unwrap();
            assert_eq!((adapter.r, adapter.lora_alpha), (2, 8.0));
            for (name, bytes) in session.save(Some("kept")).await.unwrap() {
                assert!(fs::read(files.join(&name)).unwrap() == bytes.to_vec(), "{folder:?}: {name}");
            }
        }
    });
}

/// Writes what this build saves into a folder of its own below `target`; the README beside the fixtures says when
/// that is wanted.
#[test]
#[ignore = "makes a fixture and checks nothing"]
fn make_what_this_build_saves() {
    block_on(async {
        let folder = PathBuf::from("target/saved");
        let kv = Rc::new(MemoryKv::default());
        let data = Directory("fixtures/models/smollm2_f16_tied".into());
        let options = ImportOptions::default();
        import_file(kv.clone(), "rows", &data, "data.jsonl", options, &mut |_, _| {}).await.expect("rows");
        let mut session = opened(&kv).await;
        prepare(&mut session, false).await;
        for _ in 0..2 {
            step(&mut session).await;
        }
        fs::create_dir_all(folder.join("adapter")).unwrap();
        for (name, bytes) in session.save(None).await.expect("the adapter") {
            fs::write(folder.join("adapter").join(name), bytes.to_vec()).unwrap();
        }
        let mut records = Vec::new();
        for table in TABLES {
            records.extend(kv.scan(table, None).await.unwrap());
        }
        let finished = finish(&mut session).await;
        fs::write(folder.join("records.kv"), to_bytes(&records)).unwrap();
        fs::write(folder.join("finished.json"), format!("{finished:#}\n")).unwrap();
    });
}
