//! The tokens and masks that TRL makes of rows of preferences.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use pollster::block_on;
use serde_json::{Value, json};
use tabtune::data::batches::{BatchOptions, BatchPlan};
use tabtune::data::encode::{EncodeOptions, Encoded, Encoder, RowUse, mismatched};
use tabtune::data::example::Example;
use tabtune::data::import::import_file;
use tabtune::data::kv::MemoryKv;
use tabtune::data::library::{Description, ImportOptions};
use tabtune::data::tokenizer::Tokenizer;
use tabtune::data::tokens::{Selection, TokenSet};
use tabtune::error::Result;
use xxhash_rust::xxh3::xxh3_128;

use super::{Folder, InMemory, tokenizer};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

pub fn options(rows_as: RowUse, max_length: impl Into<Option<u32>>) -> EncodeOptions {
    EncodeOptions { rows_as, max_length: max_length.into(), ..Default::default() }
}

/// What a case's options say of the encoding; 1024 tokens by default, as in TRL.
fn options_of(train: &Value) -> EncodeOptions {
    let rows_as = if train["method"] == "kto" { RowUse::Judged } else { RowUse::Pairs };
    options(rows_as, train["max_length"].as_u64().unwrap_or(1024) as u32)
}

/// A store with rows as its dataset "mine".
pub fn imported(rows: &[Value]) -> Result<MemoryKv> {
    let kv = Rc::new(MemoryKv::default());
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let files = InMemory::with("rows.jsonl", lines);
    let import = ImportOptions::default();
    block_on(import_file(kv.clone(), "mine", &files, "rows.jsonl", import, &mut |_, _| ()))?;
    Ok(Rc::into_inner(kv).unwrap())
}

/// Rows that were imported and tokenised, and where they lie.
pub fn tokenised(rows: &[Value], model: &Tokenizer, options: EncodeOptions) -> Result<(MemoryKv, TokenSet)> {
    let kv = imported(rows)?;
    let content = block_on(Description::rows(&kv, "mine"))?;
    let encoder = Encoder::new(model, options);
    let set = block_on(TokenSet::make(&kv, &content, &encoder, &mut |_, _| true))?;
    Ok((kv, set))
}

fn sequence(encoded: &Encoded) -> Value {
    let labelled: Vec<u8> = encoded.labelled.iter().map(|label| u8::from(*label)).collect();
    json!({"input_ids": encoded.ids, "labelled": labelled})
}

/// The pairs or rated answers of a case in the order in which they are trained on, as its reference lists them; of rated
/// answers each group of `per_device_train_batch_size` is compared with one another's.
fn trained_on(rows: &[Value], model: &Tokenizer, train: &Value) -> Vec<Value> {
    let options = options_of(train);
    let (kv, set) = tokenised(rows, model, options).unwrap();
    let selection = Selection::all(Rc::new(set));
    let batches = BatchOptions {
        rows_per_unit: 2,
        batch_size: train["per_device_train_batch_size"].as_u64().unwrap_or(8) as u32,
        accumulation: 1,
        max_steps: None,
        num_train_epochs: 1.0,
        shuffle_seed: None,
        group_by_length: false,
        packing: None,
        grouped: options.rows_as == RowUse::Judged,
    };
    let mut plan = BatchPlan::new(&selection.rows, &selection.set.index.lengths, batches).unwrap();
    let mut entries = Vec::new();
    for step in 0..plan.total_steps() {
        for micro_batch in plan.step(step).micro_batches {
            let rows = block_on(selection.set.get(&kv, &micro_batch)).unwrap();
            let units: Vec<&[Encoded]> = rows.chunks(2).collect();
            for (number, unit) in units.iter().enumerate() {
                if options.rows_as == RowUse::Pairs {
                    entries.push(json!({"chosen": sequence(&unit[0]), "rejected": sequence(&unit[1])}));
                    continue;
                }
                let before = (number + units.len() - 1) % units.len();
                let mut entry = sequence(&unit[0]);
                entry["label"] = unit[1].labelled[0].into();
                entry["kl"] = sequence(&mismatched(&unit[0], &units[before][1], options.max_length));
                entries.push(entry);
            }
        }
    }
    entries
}

/// Which rows and how many cut sequences each entry of a case has, and the rows that have none.
fn places(rows: &[Value], model: &Tokenizer, options: EncodeOptions) -> (BTreeSet<String>, Vec<usize>) {
    let encoder = Encoder::new(model, options);
    let (mut entries, mut dropped) = (BTreeSet::new(), Vec::new());
    for (number, row) in rows.iter().enumerate() {
        let units = encoder.units(&Example::from_json(row).unwrap()).unwrap();
        let policy_rows = options.rows_as.policy_rows() as usize;
        for unit in units.iter().filter(|unit| unit.is_kept) {
            let truncated = unit.rows[..policy_rows].iter().filter(|row| row.truncated).count();
            entries.insert(json!([number, truncated, unit.rows[0].encoded.ids]).to_string());
        }
        if units.iter().all(|unit| !unit.is_kept) {
            dropped.push(number);
        }
    }
    (entries, dropped)
}

fn assert_like_trl(name: &str, rows: &[Value], model: &Tokenizer, train: &Value, expected: [&Value; 2]) {
    let [entries, dropped] = expected;
    let entries = entries.as_array().unwrap();
    let of_entry = |entry: &Value| {
        let first = if entry["chosen"].is_null() { entry } else { &entry["chosen"] };
        json!([entry["row"], entry["truncated"], first["input_ids"]]).to_string()
    };
    let (places, without) = places(rows, model, options_of(train));
    assert_eq!(places, entries.iter().map(of_entry).collect(), "{name}");
    assert_eq!(json!(without), *dropped, "{name}: dropped");

    let sequences = |entry: &Value| {
        let names = ["chosen", "rejected", "input_ids", "labelled", "label", "kl"];
        let mut entry = entry.clone();
        entry.as_object_mut().unwrap().retain(|name, _| names.contains(&name.as_str()));
        entry
    };
    let expected: Vec<Value> = entries.iter().map(sequences).collect();
    if expected.is_empty() {
        let error = tokenised(rows, model, options_of(train)).err().unwrap();
        assert!(error.message.contains("max_length cuts every prompt"), "{name}: {error}");
        return;
    }
    let ours = trained_on(rows, model, train);
    for (number, (ours, theirs)) in ours.iter().zip(&expected).enumerate() {
        assert_eq!(ours, theirs, "{name}: entry {number}");
    }
    assert_eq!(ours.len(), expected.len(), "{name}");
}

/// `rows.json` holds what TRL 1.16 makes of awkward rows; see tools/reference/awkward_pairs.py.
#[test]
fn preferences_become_the_tokens_and_labels_that_trl_makes() {
    let cases = read(&fixtures().join("preferences/rows.json"));
    assert_eq!(cases.as_array().unwrap().len(), 42);
    for case in cases.as_array().unwrap() {
        let model = tokenizer(case["tokenizer"].as_str().unwrap());
        let (name, rows) = (case["name"].as_str().unwrap(), case["rows"].as_array().unwrap());
        assert_like_trl(name, rows, &model, &case["train"], [&case["expected"], &case["dropped"]]);
    }
}

#[test]
fn the_rows_of_every_reference_run_are_those_that_trl_trained_on() {
    let mut seen = 0;
    for folder in std::fs::read_dir(fixtures().join("preferences")).unwrap() {
        let folder = folder.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let (config, expected) = (read(&folder.join("config.json")), read(&folder.join("expected.json")));
        let lines = std::fs::read_to_string(folder.join("data.jsonl")).unwrap();
        let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let model = fixtures().join(config["model"].as_str().unwrap()).join("model");
        let model = block_on(Tokenizer::load(&Folder(model))).unwrap();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        assert_like_trl(&name, &rows, &model, &config["train"], [&expected["entries"], &expected["dropped"]]);
        seen += 1;
    }
    assert_eq!(seen, 26);
}

/// Runs that were saved before rows had another use know their rows by these texts.
#[test]
fn the_fingerprint_of_supervised_rows_stays() {
    let model = tokenizer("chatml");
    let fingerprint = |options| Encoder::new(&model, options).fingerprint();
    for (options, text) in [
        (
            EncodeOptions::default(),
            "1 EncodeOptions { assistant_only_loss: false, completion_only_loss: None, max_length: None }",
        ),
        (
            EncodeOptions {
                assistant_only_loss: true,
                completion_only_loss: Some(false),
                ..options(RowUse::Supervised, 1024)
            },
            "2 EncodeOptions { assistant_only_loss: true, completion_only_loss: Some(false), max_length: Some(1024) }",
        ),
    ] {
        let hash = xxh3_128(format!("{text} {}", model.fingerprint()).as_bytes());
        assert_eq!(fingerprint(options), format!("{hash:032x}"));
    }
    let uses = [RowUse::Supervised, RowUse::Pairs, RowUse::Judged];
    let cuts = |rows_as| [None, Some(8)].map(|cut| fingerprint(options(rows_as, cut)));
    assert_eq!(uses.into_iter().flat_map(cuts).collect::<BTreeSet<String>>().len(), 6);
}
