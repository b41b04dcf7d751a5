//! The units that rows of preferences become: what is dropped, counted, split, ordered and shown.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use pollster::block_on;
use proptest::prelude::*;
use serde_json::{Value, json};
use tabtune::data::encode::{EncodeOptions, Encoded, EncodedUnit, Encoder, RowUse, mismatched};
use tabtune::data::example::Example;
use tabtune::data::library::{self, Description};
use tabtune::data::look::{Lengths, SeenRow, SeenToken};
use tabtune::data::tokens::{Selection, TokenSet};
use tabtune::error::{Code, Result};

use super::library::Failing;
use super::preferences::{imported, options, tokenised};
use super::tokenizer;

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
            let mut labels = with_prompt.encoded.labelled.iter().zip(&whole.encoded.labelled);
            prop_assert!(labels.all(|(own, of_pair)| own <= of_pair));
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
    let planned = TokenSet::alike(3, RowUse::Judged, 8);
    assert_eq!((planned.len(), planned.report.kept, planned.report.tokens), (6, 3, 24));
}

#[test]
fn an_answer_that_has_no_room_or_no_token_is_dropped() {
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
    // The first token of a row is never predicted, and of two empty answers it is the only one.
    let error = tokenised(&[pair("", "", "")], &tokenizer("chatml"), options(RowUse::Pairs, None));
    let error = error.err().unwrap();
    assert!(error.message.contains("no answer in any of 1 rows has a token that is predicted"), "{error}");
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

/// The rows are in two blocks.
#[test]
fn tokenising_pairs_that_was_cut_goes_on_in_the_same_order() {
    let answer = |index: usize| format!(" {index}{}", " ".repeat(400));
    let rows: Vec<Value> = (0..3000).map(|index| pair("Say", &answer(index), " no")).collect();
    let model = tokenizer("chatml");
    let encoder = Encoder::new(&model, options(RowUse::Judged, 64));
    let kv = Failing { inner: imported(&rows).unwrap(), writes_left: Cell::new(1), code: Code::Io };
    let content = block_on(Description::rows(&kv, "mine")).unwrap();
    let cut = block_on(TokenSet::make(&kv, &content, &encoder, &mut |_, _| true));
    assert_eq!(cut.unwrap_err().code, Code::Io);
    kv.writes_left.set(usize::MAX);
    let mut heard = Vec::new();
    let mut go_on = |done, _| {
        heard.push(done);
        true
    };
    let set = block_on(TokenSet::make(&kv, &content, &encoder, &mut go_on)).unwrap();
    assert!((1..3000).contains(&heard[0]), "the first block is not tokenised again: {heard:?}");
    let (whole_kv, whole) = tokenised(&rows, &model, options(RowUse::Judged, 64)).unwrap();
    assert_eq!((&set.report, &set.index), (&whole.report, &whole.index));
    let [in_turn, of_whole] = [set, whole].map(|set| Selection::all(Rc::new(set)));
    assert_eq!(in_turn.rows, of_whole.rows);
    let rows = block_on(in_turn.set.get(&kv, &in_turn.rows)).unwrap();
    assert!(rows == block_on(of_whole.set.get(&whole_kv, &of_whole.rows)).unwrap());
    let labels: Vec<bool> = rows.chunks(2).map(|unit| unit[1].labelled[0]).collect();
    let halves: Vec<(bool, usize)> =
        labels.chunk_by(|a, b| a == b).map(|half| (half[0], half.len())).collect();
    assert_eq!(halves, [(true, 1000), (false, 1000)].repeat(3));
}

#[test]
fn a_look_shows_both_answers_and_how_one_is_rated() {
    let model = tokenizer("chatml");
    let rated = json!({"prompt": "Where?", "completion": " Paris", "label": false});
    let rows = [pair("Where?", " Paris", " Lyon"), rated];
    let kv = imported(&rows).unwrap();
    let stored = block_on(library::rows(&kv, "mine", 0, 2)).unwrap();
    let seen = |row: usize, rows_as| {
        SeenRow::new(&stored[row], &model, &Encoder::new(&model, options(rows_as, None))).unwrap()
    };
    let answer = |tokens: &[SeenToken]| -> String {
        tokens.iter().filter(|token| token.labelled).map(|token| token.text.as_str()).collect()
    };
    for rows_as in [RowUse::Pairs, RowUse::Judged] {
        let both = seen(0, rows_as);
        let rejected = both.rejected.as_ref().unwrap();
        assert_eq!((answer(&both.tokens), both.label), (" Paris<|im_end|>".into(), None));
        assert_eq!(answer(&rejected.tokens), " Lyon<|im_end|>");
        assert_eq!(rejected.full_length as usize, rejected.tokens.len());
    }
    let rated = seen(1, RowUse::Judged);
    assert_eq!(
        (answer(&rated.tokens), rated.label, &rated.rejected),
        (" Paris<|im_end|>".into(), Some(false), &None)
    );
    // What is learnt as it is has the fields that it always had.
    let supervised = serde_json::to_value(seen(1, RowUse::Supervised)).unwrap();
    let names: Vec<&String> = supervised.as_object().unwrap().keys().collect();
    assert_eq!(names, ["origin", "tokens", "full_length"]);
}

#[test]
fn a_histogram_counts_the_sequences_that_are_trained_on() {
    let model = tokenizer("chatml");
    let rows = [pair("Where?", " Paris", " Paris and Lyon, and the sea")];
    for rows_as in [RowUse::Pairs, RowUse::Judged] {
        let (_, set) = tokenised(&rows, &model, options(rows_as, 8)).unwrap();
        let whole = tokenised(&rows, &model, options(rows_as, None)).unwrap().1;
        let full: Vec<u32> = whole.policy_rows().map(|row| whole.index.lengths[row as usize]).collect();
        let lengths = Lengths::new(&set, 100);
        assert_eq!(lengths.longest, *full.iter().max().unwrap());
        assert_eq!(lengths.rows.iter().sum::<u32>(), 2);
        assert!(full.iter().all(|&length| lengths.rows[(length / lengths.width) as usize] > 0));
        let cut = full.iter().filter(|&&length| length > 8);
        assert_eq!(
            (lengths.cut_rows, lengths.cut_tokens),
            (cut.clone().count() as u64, cut.map(|length| u64::from(length - 8)).sum())
        );
        assert!(lengths.cut_rows > 0);
    }
}
