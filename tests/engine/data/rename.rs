//! Datasets that are given other names.

use std::rc::Rc;

use pollster::block_on;
use serde_json::json;
use tabtune::data::encode::{EncodeOptions, Encoder};
use tabtune::data::import::{Importer, import_file};
use tabtune::data::kv::{Kv, MemoryKv, Table};
use tabtune::data::library::{self, Description, ImportOptions};
use tabtune::data::rename::rename;
use tabtune::data::tokens::{self, TokenSet};
use tabtune::error::{Code, Result};

use super::library::Failing;
use super::{InMemory, tokenizer};

/// Imports `text` as the whole of a dataset.
fn import<K: Kv + 'static>(kv: &Rc<K>, name: &str, text: &str) -> Result<()> {
    let files = InMemory::with("train.jsonl", text);
    let options = ImportOptions::default();
    block_on(import_file(kv.clone(), name, &files, "train.jsonl", options, &mut |_, _| ())).map(drop)
}

/// The texts of a dataset; none where there is no such dataset.
fn texts(kv: &dyn Kv, name: &str) -> Vec<String> {
    let rows = block_on(library::rows(kv, name, 0, 1 << 20)).unwrap_or_default();
    rows.iter().map(|row| row.row["text"].as_str().expect("a text").to_owned()).collect()
}

fn names(kv: &dyn Kv) -> Vec<String> {
    block_on(library::list(kv)).unwrap().into_iter().map(|description| description.name).collect()
}

fn text(words: &str) -> String {
    words.split(' ').map(|word| json!({"text": word}).to_string() + "\n").collect()
}

/// Some 3 MB of rows, in three blocks.
fn large() -> String {
    (0..3000).map(|index| format!("{{\"text\": \"row {index}{}\"}}\n", " ".repeat(1000))).collect()
}

#[test]
fn what_is_made_under_the_name_that_became_free_leaves_the_rows_alone() {
    let kv = Rc::new(MemoryKv::default());
    import(&kv, "mine", &text("a b")).unwrap();
    let before = block_on(Description::rows(&*kv, "mine")).unwrap();
    let tokenizer = tokenizer("chatml");
    let encoder = Encoder::new(&tokenizer, EncodeOptions::default());
    let set = block_on(TokenSet::make(&*kv, &before, &encoder, &mut |_, _| true)).unwrap();

    block_on(rename(&*kv, "mine", "yours")).unwrap();
    let after = block_on(Description::rows(&*kv, "yours")).unwrap();
    assert_eq!((names(&*kv), &after), (vec!["yours".to_owned()], &before));
    assert_eq!(block_on(tokens::reports(&*kv, &after)).unwrap(), [set.report], "nothing is tokenised twice");

    for rows in ["c d d", "e e"] {
        import(&kv, "mine", &text(rows)).unwrap();
        assert_eq!(block_on(library::deduplicate(&*kv, "mine")).unwrap(), 1);
        assert_eq!(texts(&*kv, "yours"), ["a", "b"]);
    }
    block_on(library::delete(&*kv, "mine")).unwrap();
    block_on(rename(&*kv, "yours", "mine")).unwrap();
    import(&kv, "yours", &text("f")).unwrap();
    assert_eq!((texts(&*kv, "mine"), texts(&*kv, "yours")), (vec!["a".into(), "b".into()], vec!["f".into()]));
    for name in ["mine", "yours"] {
        block_on(library::delete(&*kv, name)).unwrap();
    }
    for table in [Table::Datasets, Table::Rows, Table::TokenSets, Table::Tokens, Table::TokenIndex] {
        assert_eq!(block_on(kv.scan(table, None)).unwrap(), [], "{table:?}");
    }
}

#[test]
fn a_kill_at_any_write_leaves_the_dataset_whole_under_one_of_both_names() {
    for writes in 0..3 {
        let kv = Failing::after(usize::MAX, Code::Io);
        import(&kv, "mine", &text("a b")).unwrap();
        kv.writes_left.set(writes);
        let renamed = block_on(rename(&*kv, "mine", "yours"));
        let name = if renamed.is_ok() { "yours" } else { "mine" };
        assert_eq!(renamed.is_ok(), writes > 0, "it is one transaction");
        assert_eq!((names(&*kv), texts(&*kv, name)), (vec![name.to_owned()], vec!["a".into(), "b".into()]));
    }
}

#[test]
fn names_that_are_taken_blank_or_too_long_are_refused() {
    let kv = Rc::new(MemoryKv::default());
    import(&kv, "mine", &text("a")).unwrap();
    import(&kv, "yours", &text("b")).unwrap();
    let long = "x".repeat(201);
    for (from, to, code, why) in [
        ("mine", "yours", Code::BadState, "choose another name"),
        ("mine", " ", Code::BadOption, "blank"),
        ("mine", &long, Code::BadOption, "up to 200"),
        ("nobody's", "free", Code::BadState, "no dataset \"nobody's\""),
    ] {
        let error = block_on(rename(&*kv, from, to)).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(why), "{error}");
    }
    block_on(rename(&*kv, "mine", "mine")).unwrap();
    assert_eq!((texts(&*kv, "mine"), texts(&*kv, "yours")), (vec!["a".into()], vec!["b".into()]));
    block_on(rename(&*kv, "mine", &"ü".repeat(200))).unwrap();
}

#[test]
fn an_import_that_was_cut_goes_on_under_the_new_name() {
    // One block is written.
    let kv = Failing::after(2, Code::Io);
    import(&kv, "mine", &large()).unwrap_err();
    kv.writes_left.set(usize::MAX);
    block_on(rename(&*kv, "mine", "yours")).unwrap();
    // What is made under the old name meanwhile must not take the place of rows that wait.
    import(&kv, "mine", &text("a")).unwrap();
    block_on(async {
        let mut importer =
            Importer::begin(kv.clone(), "yours", ImportOptions::default(), true).await.unwrap();
        importer.begin_file("train.jsonl", None).unwrap();
        importer.push(large().as_bytes()).await.unwrap();
        importer.end_file().await.unwrap();
        assert_eq!(importer.finish().await.unwrap().rows, 3000);
    });
    assert_eq!((texts(&*kv, "mine").len(), texts(&*kv, "yours").len()), (1, 3000));
}
