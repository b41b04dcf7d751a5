//! Rows of preferences: the tokens and masks that TRL makes of them, and what becomes of their units.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use pollster::block_on;
use proptest::prelude::*;
use serde_json::{Value, json};
use tabtune::data::batches::{BatchOptions, BatchPlan};
use tabtune::data::encode::{EncodeOptions, Encoded, EncodedUnit, Encoder, RowUse, mismatched};
use tabtune::data::example::Example;
use tabtune::data::import::import_file;
use tabtune::data::kv::MemoryKv;
use tabtune::data::library::{Description, ImportOptions};
use tabtune::data::tokenizer::Tokenizer;
use tabtune::data::tokens::{Selection, TokenSet};
use tabtune::error::{Code, Result};
use xxhash_rust::xxh3::xxh3_128;

use super::{Folder, InMemory, tokenizer};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn options(rows_as: RowUse, max_length: impl Into<Option<u32>>) -> EncodeOptions {
    EncodeOptions { rows_as, max_length: max_length.into(), ..Default::default() }
}

/// What a case's options say of the encoding; 1024 tokens by default, as in TRL.
fn options_of(train: &Value) -> EncodeOptions {
    let rows_as = if train["method"] == "kto" { RowUse::Judged } else { RowUse::Pairs };
    options(rows_as, train["max_length"].as_u64().unwrap_or(1024) as u32)
}

/// Rows that were imported and tokenised, and where they lie.
fn tokenised(rows: &[Value], model: &Tokenizer, options: EncodeOptions) -> Result<(MemoryKv, TokenSet)> {
    let kv = Rc::new(MemoryKv::default());
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let files = InMemory::with("rows.jsonl", lines);
    let import = ImportOptions::default();
    block_on(import_file(kv.clone(), "mine", &files, "rows.jsonl", import, &mut |_, _| ()))?;
    let content = block_on(Description::rows(&kv, "mine"))?;
    let set = block_on(TokenSet::make(&kv, &content, &Encoder::new(model, options), &mut |_, _| true))?;
    Ok((Rc::into_inner(kv).unwrap(), set))
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

// ---- units -----------------------------------------------------------------------------------------

fn units(row: &Value, options: EncodeOptions) -> Result<Vec<EncodedUnit>> {
    let model = tokenizer("chatml");
    Encoder::new(&model, options).units(&Example::from_json(row)?)
}

fn pair(prompt: &str, chosen: &str, rejected: &str) -> Value {
    json!({"prompt": prompt, "chosen": chosen, "rejected": rejected})
}

proptest! {
    #[test]
    fn the_parts_of_a_pair_share_the_prompt(
        prompt in "\\PC{0,12}", chosen in "\\PC{0,12}", rejected in "\\PC{0,12}", max_length in prop::option::of(1u32..12),
        is_implicit: bool,
    ) {
        let row = match is_implicit {
            true => json!({"chosen": format!("{prompt}{chosen}"), "rejected": format!("{prompt}{rejected}")}),
            false => pair(&prompt, &chosen, &rejected),
        };
        let found = units(&row, options(RowUse::Pairs, max_length)).unwrap().remove(0);
        let [first, second] = found.rows.as_slice() else { panic!("a pair has two rows") };
        for row in [first, second] {
            prop_assert_eq!(row.encoded.ids.len(), row.encoded.labelled.len());
            prop_assert!(row.encoded.ids.len() <= max_length.map_or(usize::MAX, |length| length as usize));
            prop_assert_eq!(row.truncated, (row.full_length as usize) > row.encoded.ids.len());
            // One stretch of labels, at the end.
            prop_assert!(row.encoded.labelled.is_sorted());
        }
        if found.is_kept {
            let answer = |row: &Encoded| row.labelled.iter().position(|labelled| *labelled);
            let shared = answer(&first.encoded);
            prop_assert!(shared.is_some());
            prop_assert_eq!(shared, answer(&second.encoded));
            prop_assert_eq!(&first.encoded.ids[..shared.unwrap()], &second.encoded.ids[..shared.unwrap()]);
        }
        // Each answer judged by itself has a prompt that is at least as long, and the same tokens.
        let judged = units(&row, options(RowUse::Judged, max_length)).unwrap();
        prop_assert_eq!(judged.len(), 2);
        for ((unit, whole), is_good) in judged.iter().zip([first, second]).zip([true, false]) {
            let [with_prompt, alone] = unit.rows.as_slice() else { panic!("a unit has two rows") };
            prop_assert_eq!(&with_prompt.encoded.ids, &whole.encoded.ids);
            prop_assert!(with_prompt.encoded.labelled.iter().zip(&whole.encoded.labelled).all(|(own, of_pair)| own <= of_pair));
            prop_assert!(alone.encoded.labelled.iter().all(|labelled| *labelled == is_good));
            // With its own prompt the answer is the whole again.
            if unit.is_kept {
                prop_assert_eq!(&mismatched(&with_prompt.encoded, &alone.encoded, max_length), &with_prompt.encoded);
            }
        }
    }

    #[test]
    fn a_split_never_tears_a_unit(seed: u64, test_size in 0.0..1.0f64, judged: bool) {
        let rows: Vec<Value> = (0..40u64).map(|row| pair("The sea", &format!(" is {}", seed ^ row), " No")).collect();
        let rows_as = if judged { RowUse::Judged } else { RowUse::Pairs };
        let model = tokenizer("chatml");
        let (kv, set) = tokenised(&rows, &model, options(rows_as, None)).unwrap();
        let all = (0..set.len() as u32).collect::<Vec<_>>();
        let of_row = set.len() as u32 / 40;
        prop_assert_eq!(of_row, if judged { 4 } else { 2 });
        let parts = Selection::split(Rc::new(set), test_size);
        for part in &parts {
            prop_assert!(part.rows.chunks(2).all(|unit| unit[0].is_multiple_of(2) && unit[1] == unit[0] + 1));
            let held: BTreeSet<u32> = part.rows.iter().map(|row| row / of_row).collect();
            prop_assert_eq!(held.len() * of_row as usize, part.rows.len());
            if judged {
                // All chosen answers come before all rejected ones.
                let rows = block_on(part.set.get(&kv, &part.rows)).unwrap();
                let labels: Vec<bool> = rows.chunks(2).map(|unit| unit[1].labelled[0]).collect();
                prop_assert!(labels.is_sorted_by(|a, b| a >= b));
            }
        }
        let mut both = [parts[0].rows.clone(), parts[1].rows.clone()].concat();
        both.sort();
        prop_assert_eq!(both, all);
    }
}

#[test]
fn pairs_are_taken_apart_a_thousand_at_a_time() {
    let fills = "the sea ".repeat(40);
    // Row 3 has no room for its answer.
    let prompt = |row: usize| if row == 3 { fills.clone() } else { format!("{row}") };
    let rows: Vec<Value> = (0..2100).map(|row| pair(&prompt(row), " yes", " no")).collect();
    let model = tokenizer("chatml");
    let (_, set) = tokenised(&rows, &model, options(RowUse::Judged, 20)).unwrap();
    assert_eq!((set.report.rows, set.report.kept, set.report.dropped, set.len()), (2100, 2099, 1, 4 * 2099));
    assert!(set.report.notices.iter().any(|notice| notice.code == "prompts-cut"));
    let set = Rc::new(set);
    let order = Selection::all(set.clone()).rows;
    // Each row of the dataset that is kept has four rows of tokens.
    let unit = |pair: u32, is_rejected: u32| [4 * pair + 2 * is_rejected, 4 * pair + 2 * is_rejected + 1];
    let expected: Vec<u32> = [0..999, 999..1999, 1999..2099]
        .into_iter()
        .flat_map(|pairs: std::ops::Range<u32>| {
            let half = move |is_rejected| pairs.clone().flat_map(move |pair| unit(pair, is_rejected));
            half(0).chain(half(1)).collect::<Vec<_>>()
        })
        .collect();
    assert!(order == expected);
    let sample = Selection::all(set).sample(2).rows;
    assert_eq!(sample, [unit(0, 0), unit(1100, 0)].concat()[..4]);
}

#[test]
fn a_report_counts_rows_of_the_dataset_and_the_tokens_that_are_trained_on() {
    let rows = [pair("Where?", " Paris", " Paris and Lyon"), pair("Who?", "", " I")];
    let model = tokenizer("chatml");
    for (rows_as, policy, tokens_of_all) in [(RowUse::Pairs, 4, true), (RowUse::Judged, 4, false)] {
        let (kv, set) = tokenised(&rows, &model, options(rows_as, None)).unwrap();
        let all: Vec<u32> = (0..set.len() as u32).collect();
        let found = block_on(set.get(&kv, &all)).unwrap();
        let trained: Vec<&Encoded> = set.policy_rows().map(|row| &found[row as usize]).collect();
        assert_eq!((trained.len(), trained.len() == found.len()), (policy, tokens_of_all));
        let report = &set.report;
        assert_eq!((report.rows, report.kept, report.dropped, report.truncated), (2, 2, 0, 0));
        assert_eq!(report.tokens, trained.iter().map(|row| row.ids.len() as u64).sum::<u64>());
        assert_eq!(report.labelled_tokens, trained.iter().map(|row| row.targets() as u64).sum::<u64>());
        assert_eq!(report.longest as usize, trained.iter().map(|row| row.ids.len()).max().unwrap());
    }
    let planned = TokenSet::alike_units(3, RowUse::Judged, 8);
    assert_eq!((planned.len(), planned.report.kept, planned.report.tokens), (6, 3, 24));
}

#[test]
fn an_answer_that_has_no_room_or_no_token_is_dropped() {
    // <|im_start|> is followed by nothing that the prompt does not end with.
    let long = pair(&"the sea ".repeat(40), " is wide", " is deep");
    for rows_as in [RowUse::Pairs, RowUse::Judged] {
        let dropped = units(&long, options(rows_as, 8)).unwrap();
        assert!(dropped.iter().all(|unit| !unit.is_kept && unit.rows[0].encoded.ids.len() == 8));
        let error = tokenised(&[long.clone(), long.clone()], &tokenizer("chatml"), options(rows_as, 8));
        let error = error.err().unwrap();
        assert_eq!(error.code, Code::BadData);
        let full = dropped[0].rows.iter().map(|row| row.full_length).max().unwrap();
        assert!(
            error.message.contains("max_length cuts every prompt before its answer; raise it, up to"),
            "{error}"
        );
        assert!(
            rows_as == RowUse::Judged || error.message.contains(&format!("up to {full} for all")),
            "{error}"
        );
    }
    // An answer without a message has no token of its own.
    let silent = json!({"prompt": [{"role": "user", "content": "Hi"}], "chosen": [], "rejected": []});
    assert!(units(&silent, options(RowUse::Judged, None)).unwrap().iter().all(|unit| !unit.is_kept));
    assert!(!units(&silent, options(RowUse::Pairs, None)).unwrap()[0].is_kept);
}

/// Where TRL ends with an error or cuts the last character off, see tools/reference/preferences.md.
#[test]
fn prompts_in_both_answers_are_found_where_trl_errs() {
    let prompt_of = |chosen: &str, rejected: &str| {
        let row = json!({"chosen": chosen, "rejected": rejected});
        match Example::from_json(&row).unwrap() {
            Example::Preference { prompt, chosen, rejected } => [prompt, chosen, rejected],
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(prompt_of("No. ", "Yes."), ["", "No. ", "Yes."]);
    assert_eq!(prompt_of("", "Yes."), ["", "", "Yes."]);
    assert_eq!(prompt_of("", ""), ["", "", ""]);
    let said = |content: &str| json!([{"role": "assistant", "content": content}]);
    let error = Example::from_json(&json!({"chosen": said("a"), "rejected": said("b")})).unwrap_err();
    assert_eq!(error.code, Code::BadData);
    assert!(error.message.contains("no message before their answers"), "{error}");
}

#[test]
fn rows_that_training_cannot_use_say_what_it_needs() {
    let chat = json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]);
    let preference = pair("Hi", " Hello", " Go away.");
    let rated = json!({"prompt": "Hi", "completion": " Hello", "label": true});
    let plain = json!({"prompt": "Hi", "completion": " Hello"});
    for (row, rows_as, parts) in [
        (json!({"messages": chat}), RowUse::Pairs, ["\"dpo\"", "has \"messages\"", "\"sft\""]),
        (json!({"text": "Hi"}), RowUse::Pairs, ["\"chosen\" and \"rejected\"", "has \"text\"", "\"sft\""]),
        (
            rated.clone(),
            RowUse::Pairs,
            ["\"dpo\"", "\"completion\" and \"label\"", "train.method to \"kto\""],
        ),
        (json!({"messages": chat}), RowUse::Judged, ["\"kto\"", "\"label\", or with", "has \"messages\""]),
        (plain, RowUse::Judged, ["\"kto\"", "\"prompt\" and \"completion\" alone", "columns: {\"label\""]),
        (preference, RowUse::Supervised, ["is a preference", "\"chosen\"", "train.method to \"dpo\""]),
    ] {
        let error = tokenised(&[row], &tokenizer("chatml"), options(rows_as, None)).err().unwrap();
        assert_eq!(error.code, Code::BadData);
        assert!(error.to_string().starts_with("rows.jsonl line 1: "), "{error}");
        assert!(parts.iter().all(|part| error.message.contains(part)), "{error}");
    }
}

#[test]
fn ratings_are_told_where_they_are_not_used() {
    let rows =
        [true, false, false].map(|label| json!({"prompt": "Hi", "completion": " Hello", "label": label}));
    let (kv, set) = tokenised(&rows, &tokenizer("chatml"), EncodeOptions::default()).unwrap();
    let plain = [json!({"prompt": "Hi", "completion": " Hello"})];
    let (plain_kv, plain) = tokenised(&plain, &tokenizer("chatml"), EncodeOptions::default()).unwrap();
    let same = block_on(plain.get(&plain_kv, &[0, 0, 0])).unwrap();
    assert_eq!(block_on(set.get(&kv, &[0, 1, 2])).unwrap(), same);
    let found: Vec<(&str, &str)> = (set.report.notices.iter())
        .map(|notice| (notice.code.as_str(), notice.message.split(' ').next().unwrap()))
        .collect();
    assert_eq!(found, [("pairs-as-text", "1"), ("ratings-not-used", "2")]);
}
