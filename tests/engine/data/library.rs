//! Imports, what they leave when they break off, and the tokens that are made of rows.

use std::cell::Cell;
use std::rc::Rc;

use pollster::block_on;
use proptest::prelude::*;
use serde_json::{Value, json};
use tabtune::data::encode::{EncodeOptions, Encoded, Encoder, RowUse};
use tabtune::data::example::Example;
use tabtune::data::import::{Importer, import_file};
use tabtune::data::inspect::{Head, Inspection};
use tabtune::data::kv::{Key, Kv, MemoryKv, Table, Write};
use tabtune::data::library::{self, Description, ImportOptions, OnBadRow, StoredRow};
use tabtune::data::look::{Lengths, SeenRow};
use tabtune::data::tokenizer::Tokenizer;
use tabtune::data::tokens::{self, Selection, TokenSet};
use tabtune::error::{Code, Error, Result};

use super::{InMemory, fixtures, tokenizer};

/// A store whose writes succeed a number of times and then say that the disk is full, or that the tab
/// was closed.
pub struct Failing {
    pub inner: MemoryKv,
    pub writes_left: Cell<usize>,
    pub code: Code,
}

impl Failing {
    pub fn after(writes: usize, code: Code) -> Rc<Self> {
        Rc::new(Failing { inner: MemoryKv::default(), writes_left: Cell::new(writes), code })
    }
}

#[async_trait::async_trait(?Send)]
impl Kv for Failing {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>> {
        self.inner.get(keys).await
    }

    async fn scan(&self, table: Table, name: Option<&str>) -> Result<Vec<(Key, Vec<u8>)>> {
        self.inner.scan(table, name).await
    }

    async fn write(&self, changes: Vec<Write>) -> Result<()> {
        // A full disk still takes what frees space.
        let frees = changes.iter().any(|change| matches!(change, Write::RemoveFrom(_)));
        if self.writes_left.get() == 0 && !(frees && self.code == Code::QuotaExceeded) {
            return Err(Error::new(self.code, "no more"));
        }
        self.writes_left.set(self.writes_left.get().saturating_sub(1));
        self.inner.write(changes).await
    }
}

fn options(value: Value) -> ImportOptions {
    serde_json::from_value(value).unwrap()
}

/// Imports `text` as the whole of dataset "mine".
fn import<K: Kv + 'static>(
    kv: &Rc<K>,
    text: impl Into<Vec<u8>>,
    import: Value,
) -> Result<library::ImportReport> {
    let files = InMemory::with("train.jsonl", text);
    block_on(import_file(kv.clone(), "mine", &files, "train.jsonl", options(import), &mut |_, _| ()))
}

fn rows<K: Kv + 'static>(kv: &Rc<K>) -> Vec<StoredRow> {
    block_on(library::rows(kv, "mine", 0, u64::MAX / 2)).unwrap()
}

fn description<K: Kv + 'static>(kv: &Rc<K>) -> Description {
    block_on(Description::load(kv, "mine")).unwrap()
}

fn make(kv: &Rc<impl Kv>, options: EncodeOptions) -> Result<TokenSet> {
    let tokenizer = tokenizer("chatml");
    let encoder = Encoder::new(&tokenizer, options);
    let content = block_on(Description::rows(kv, "mine"))?;
    block_on(TokenSet::make(kv, &content, &encoder, &mut |_, _| true))
}

/// Imports and tokenises.
fn tokenised(text: impl Into<Vec<u8>>, options: EncodeOptions) -> Result<(TokenSet, Vec<Encoded>)> {
    let kv = Rc::new(MemoryKv::default());
    import(&kv, text, json!({}))?;
    let set = make(&kv, options)?;
    let all: Vec<u32> = (0..set.len() as u32).collect();
    let rows = block_on(set.get(&kv, &all)).unwrap();
    Ok((set, rows))
}

/// Some 3 MB of rows, in three blocks.
fn large() -> String {
    (0..3000).map(|index| format!("{{\"text\": \"row {index}{}\"}}\r\n", " ".repeat(1000))).collect()
}

#[test]
fn a_bad_row_is_named_by_file_and_line_or_left_out_and_counted() {
    let good = "{\"text\": \"fine\"}\n";
    for (row, expected) in [
        ("{\"text\": \"a\"", "not JSON: EOF while parsing an object at column 12"),
        ("[1]", "a row must be an object, but is a list"),
        ("{\"text\": 3}", "\"text\" must be a string, but is a number"),
        (
            "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": null, \"content\": \"a\"}]}",
            "messages[1] has no \"role\"",
        ),
    ] {
        let text = format!("{good}\n{row}\n{good}");
        let kv = Rc::new(MemoryKv::default());
        let error = import(&kv, text.clone(), json!({})).unwrap_err();
        assert_eq!(error.code, Code::BadData);
        let message = error.to_string();
        assert!(message.starts_with("train.jsonl line 3: "), "{message}");
        assert!(message.contains(expected), "{message}");
        assert_eq!(description(&kv).content, None);

        let report = import(&kv, text, json!({"on_bad_row": "skip"})).unwrap();
        assert_eq!((report.rows, report.skipped), (2, 1));
        let bad = &report.bad_rows[0];
        assert_eq!((bad.file.as_str(), bad.unit.as_str(), bad.place), ("train.jsonl", "line", 3));
        assert!(bad.reason.contains(expected), "{bad:?}");
        assert_eq!(
            rows(&kv).iter().map(StoredRow::origin).collect::<Vec<_>>(),
            ["train.jsonl line 1", "train.jsonl line 4"]
        );
    }
    let kv = Rc::new(MemoryKv::default());
    for text in ["", " \n\r\n\n"] {
        let error = import(&kv, text, json!({})).unwrap_err();
        assert_eq!(
            (error.code, error.to_string().as_str()),
            (Code::BadData, "train.jsonl has no rows to keep")
        );
    }
    let files = InMemory::default();
    let missing =
        block_on(import_file(kv, "mine", &files, "no.jsonl", ImportOptions::default(), &mut |_, _| ()))
            .unwrap_err();
    assert_eq!((missing.code, missing.to_string().as_str()), (Code::Io, "no.jsonl does not exist"));
}

#[test]
fn what_becomes_of_bad_rows_is_told_and_stays_as_rows_are_added() {
    let kv = Rc::new(MemoryKv::default());
    let error = import(&kv, "{\"text\": 3}\n{\"text\": 4}\n", json!({"on_bad_row": "skip"})).unwrap_err();
    assert!(
        error.to_string().contains("the first of 2 bad ones, train.jsonl line 1: \"text\" must be"),
        "{error}"
    );
    import(&kv, "{\"text\": \"a\"}\n", json!({"on_bad_row": "skip"})).unwrap();
    import(&kv, "{\"text\": \"b\"}\n", json!({"append": true})).unwrap();
    assert_eq!(description(&kv).content.unwrap().on_bad_row, OnBadRow::Skip);
}

#[test]
fn every_line_of_files_and_columns_of_other_names_become_rows() {
    let kv = Rc::new(MemoryKv::default());
    let files = InMemory::with("faq.csv", "Frage;Antwort\n\"Was; nun?\";Nichts\nWie?;\"So\nund so\"\n");
    let asked = options(json!({"columns": {"prompt": "Frage", "completion": "Antwort"}}));
    let report = block_on(import_file(kv.clone(), "mine", &files, "faq.csv", asked, &mut |_, _| ())).unwrap();
    assert_eq!(json!(report.shapes), json!({"prompt_completion": 2}));
    let rows = rows(&kv);
    assert_eq!(rows[0].row["prompt"], json!([{"role": "user", "content": "Was; nun?"}]));
    assert_eq!(rows[1].row["completion"][0]["content"], "So\nund so");
    assert_eq!(rows[1].origin(), "faq.csv line 3");
}

#[test]
fn what_is_not_used_of_a_row_is_told() {
    let kv = Rc::new(MemoryKv::default());
    let text = "{\"text\": \"a\", \"tools\": [{}]}\n{\"text\": \"b\"}\n";
    let report = import(&kv, text, json!({})).unwrap();
    assert_eq!(json!(report.ignored_columns), json!({"tools": 1}));
    assert_eq!(rows(&kv)[0].row, json!({"text": "a"}));
}

#[test]
fn empty_cells_where_a_question_should_be_are_told() {
    let kv = Rc::new(MemoryKv::default());
    let cell = |index: usize| if index < 26 { "" } else { "Ja?" };
    let rows: String = (0..30)
        .map(|index| format!("{{\"Notiz\": \"{}\", \"Antwort\": \"a {index}\"}}\n", cell(index)))
        .collect();
    let columns = json!({"columns": {"prompt": "Notiz", "completion": "Antwort"}});
    let report = import(&kv, rows.clone(), columns.clone()).unwrap();
    assert_eq!(report.notices.len(), 1);
    assert_eq!(report.notices[0].code, "empty-cells");
    assert!(
        report.notices[0].message.starts_with("\"Notiz\" is empty in 26 of 30 rows"),
        "{:?}",
        report.notices
    );
    let look = |columns| {
        let head = Head { bytes: rows.as_bytes(), is_whole: true };
        Inspection::new("a.jsonl", None, head, &options(columns), 20).unwrap()
    };
    assert!(look(columns).notices[0].message.starts_with("\"Notiz\" is empty in 20 of 20 rows"));
    let filled = look(json!({"columns": {"prompt": "Antwort", "completion": "Antwort"}}));
    assert_eq!(filled.notices, []);
}

#[test]
fn a_part_that_nobody_knows_is_refused_before_anything_is_read() {
    let kv = Rc::new(MemoryKv::default());
    let error = import(&kv, "", json!({"columns": {"colour": "a"}})).unwrap_err();
    assert_eq!(error.code, Code::BadOption);
    assert!(serde_json::from_value::<ImportOptions>(json!({"pairs": "both"})).is_err());
}

#[test]
fn a_large_file_is_read_in_pieces_and_kept_in_blocks() {
    let kv = Rc::new(MemoryKv::default());
    let files = InMemory::with("rows.jsonl", large());
    let mut progress = Vec::new();
    let mut note = |done, total| progress.push((done, total));
    let report =
        block_on(import_file(kv.clone(), "mine", &files, "rows.jsonl", ImportOptions::default(), &mut note))
            .unwrap();
    assert_eq!(report.rows, 3000);
    assert_eq!(*files.longest_read.borrow(), 1 << 20);
    assert_eq!(progress.last(), Some(&(large().len() as u64, large().len() as u64)));
    assert!(description(&kv).content.unwrap().blocks() >= 3);
    let some = block_on(library::rows(&kv, "mine", 1030, 5)).unwrap();
    assert_eq!(some.iter().map(|row| row.place).collect::<Vec<_>>(), [1031, 1032, 1033, 1034, 1035]);

    let set = make(&kv, EncodeOptions::default()).unwrap();
    let tokenizer = tokenizer("chatml");
    let picked = block_on(set.get(&kv, &[2999, 0, 1234])).unwrap();
    for (row, index) in picked.iter().zip([2999, 0, 1234]) {
        assert!(tokenizer.decode(&row.ids, true).unwrap().starts_with(&format!("row {index} ")));
    }
    block_on(library::delete(&kv, "mine")).unwrap();
    for table in [Table::Datasets, Table::Rows, Table::TokenSets, Table::Tokens, Table::TokenIndex] {
        assert_eq!(block_on(kv.scan(table, None)).unwrap(), [], "{table:?}");
    }
}

#[test]
fn a_line_without_end_is_refused_before_memory_is_full() {
    let kv = Rc::new(MemoryKv::default());
    let error = import(&kv, format!("{{\"text\": \"x\"}}\n{}", "x".repeat(18 << 20)), json!({})).unwrap_err();
    assert_eq!(error.code, Code::BadData);
    assert!(error.to_string().contains("line 2"), "{error}");
}

#[test]
fn an_import_that_was_cut_anywhere_is_resumed_to_the_same_rows() {
    let whole = Rc::new(MemoryKv::default());
    import(&whole, large(), json!({})).unwrap();
    let expected = description(&whole).content.unwrap();
    for writes in 0..8 {
        // The tab is closed in the midst, and the page opened again.
        let kv = Failing::after(writes, Code::Io);
        let cut = import(&kv, large(), json!({}));
        kv.writes_left.set(usize::MAX);
        let Some(pending) = description(&kv).pending else {
            assert!(cut.is_ok() || writes < 2, "after {writes} writes");
            continue;
        };
        assert!(pending.content.rows > 0 && pending.content.rows <= 3000);
        assert_eq!(block_on(Description::rows(&kv, "mine")).unwrap_err().code, Code::BadState);
        let resumed = resume(&kv, &large(), json!({})).unwrap();
        assert_eq!(resumed, 3000);
        assert_eq!(description(&kv).content.unwrap(), expected, "after {writes} writes");
        assert_eq!(rows(&kv), rows(&whole));
    }
}

fn resume<K: Kv + 'static>(kv: &Rc<K>, text: &str, import: Value) -> Result<u64> {
    block_on(async {
        let mut importer = Importer::begin(kv.clone(), "mine", options(import), true).await?;
        importer.begin_file("train.jsonl", None).unwrap();
        for piece in text.as_bytes().chunks(100_000) {
            importer.push(piece).await?;
        }
        importer.end_file().await?;
        Ok(importer.finish().await?.rows)
    })
}

#[test]
fn another_file_or_other_options_do_not_resume_an_import() {
    let kv = Failing::after(3, Code::Io);
    import(&kv, large(), json!({})).unwrap_err();
    kv.writes_left.set(usize::MAX);
    let other = large().replace("row 7 ", "row 8 ");
    let error = resume(&kv, &other, json!({})).unwrap_err();
    assert_eq!(error.code, Code::BadOption);
    assert!(error.message.contains("not what was being imported"), "{error}");
    let error = resume(&kv, "{\"text\": \"short\"}", json!({})).unwrap_err();
    assert!(error.message.contains("not what was being imported"), "{error}");
    let error = resume(&kv, &large(), json!({"on_bad_row": "skip"})).unwrap_err();
    assert_eq!((error.code, error.message.contains("other options")), (Code::BadOption, true));
    assert_eq!(resume(&kv, &large(), json!({})).unwrap(), 3000, "and the right one still does");
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    for append in [false, true] {
        let kv = Failing::after(usize::MAX, Code::QuotaExceeded);
        import(&kv, "{\"text\": \"old\"}\n", json!({})).unwrap();
        let before = description(&kv).content;
        kv.writes_left.set(2);
        let error = import(&kv, large(), json!({"append": append})).unwrap_err();
        assert_eq!(error.code, Code::QuotaExceeded);
        assert_eq!((description(&kv).content, description(&kv).pending), (before, None));
        assert_eq!(rows(&kv).len(), 1);
        assert_eq!(block_on(kv.scan(Table::Rows, None)).unwrap().len(), 1, "what was written is freed");
    }
}

#[test]
fn an_import_that_is_refused_leaves_no_empty_dataset() {
    for (code, text) in [(Code::BadData, large() + "{\"text\": 3}\n"), (Code::QuotaExceeded, large())] {
        let kv = Failing::after(if code == Code::BadData { usize::MAX } else { 3 }, Code::QuotaExceeded);
        assert_eq!(import(&kv, text, json!({})).unwrap_err().code, code);
        assert_eq!(block_on(library::list(&kv)).unwrap(), []);
        assert_eq!(block_on(kv.scan(Table::Rows, None)).unwrap(), []);
        kv.writes_left.set(usize::MAX);
        assert_eq!(import(&kv, large(), json!({})).unwrap().rows, 3000);
    }
}

#[test]
fn why_an_import_ended_is_told_where_even_tidying_up_fails() {
    let (rows, bad) = (large(), "{\"text\": 3}\n");
    let half = rows[..rows.len() / 2].rfind('\n').unwrap() + 1;
    // One block is written, but not that it is discarded.
    let kv = Failing::after(2, Code::Io);
    let error = import(&kv, rows[..half].to_owned() + bad, json!({})).unwrap_err();
    assert!(description(&kv).pending.is_some());
    assert_eq!(error.code, Code::BadData, "{error}");
    assert!(error.to_string().contains("\"text\" must be a string"), "{error}");
}

#[test]
fn rows_that_are_being_added_are_not_counted_away() {
    let kv = Failing::after(usize::MAX, Code::Io);
    import(&kv, "{\"text\": \"a\"}\n{\"text\": \"a\"}\n", json!({})).unwrap();
    kv.writes_left.set(1);
    import(&kv, large(), json!({"append": true})).unwrap_err();
    kv.writes_left.set(usize::MAX);
    let error = block_on(library::deduplicate(&kv, "mine")).unwrap_err();
    assert_eq!(error.code, Code::BadState);
    assert!(error.message.contains("discard what is pending"), "{error}");
    assert_eq!(resume(&kv, &large(), json!({"append": true})).unwrap(), 3000);
    assert_eq!(block_on(library::deduplicate(&kv, "mine")).unwrap(), 1);
}

#[test]
fn rows_cleared_during_an_import_are_not_counted_as_stored() {
    for begun in [false, true] {
        let kv = Rc::new(MemoryKv::default());
        if begun {
            import(&kv, "{\"text\": \"old\"}\n", json!({})).unwrap();
        }
        let text = large();
        // A block is written before what plays the browser that clears its storage.
        let (first, rest) = text.split_at(text.len() / 2);
        let error = block_on(async {
            let mut importer =
                Importer::begin(kv.clone(), "mine", options(json!({"append": begun})), false).await?;
            importer.begin_file("train.jsonl", None).unwrap();
            importer.push(first.as_bytes()).await?;
            library::delete(&kv, "mine").await?;
            importer.push(rest.as_bytes()).await?;
            importer.end_file().await?;
            importer.finish().await
        })
        .unwrap_err();
        assert_eq!(error.code, Code::BadState);
        assert!(error.message.contains("cleared dataset \"mine\""), "{error}");
        assert_eq!(import(&kv, text, json!({})).unwrap().rows, 3000, "and it can be imported again");
    }
}

#[test]
fn rows_are_added_replaced_and_told_apart() {
    let kv = Rc::new(MemoryKv::default());
    let row = |text: &str| format!("{{\"text\": \"{text}\"}}\n");
    import(&kv, row("a") + &row("b"), json!({})).unwrap();
    let first = make(&kv, EncodeOptions::default()).unwrap();
    let before = description(&kv).content.unwrap();
    import(&kv, row("c"), json!({"append": true})).unwrap();
    let added = description(&kv).content.unwrap();
    assert_eq!((added.rows, &added.id), (3, &before.id));
    assert_ne!(added.fingerprint, before.fingerprint);
    let second = make(&kv, EncodeOptions::default()).unwrap();
    assert_eq!(second.index.hashes[..2], first.index.hashes, "tokens of the rows before are kept");
    assert_eq!(second.len(), 3);

    assert_eq!(block_on(tokens::reports(&kv, &added)).unwrap(), [second.report]);

    import(&kv, row("a") + &row("b") + &row("c"), json!({})).unwrap();
    let replaced = description(&kv).content.unwrap();
    assert_eq!(
        (&replaced.fingerprint, replaced.rows),
        (&added.fingerprint, 3),
        "one fingerprint for the same rows"
    );
    assert_ne!(replaced.id, added.id);
    assert_eq!(block_on(kv.scan(Table::TokenSets, None)).unwrap(), [], "tokens of what is gone are gone");

    let twice = row("a") + &row("b") + &row("a");
    assert_eq!(import(&kv, twice.clone(), json!({"deduplicate": true})).unwrap().duplicates, 1);
    assert_eq!(rows(&kv).len(), 2);
    import(&kv, twice, json!({})).unwrap();
    assert_eq!(block_on(library::deduplicate(&kv, "mine")).unwrap(), 1);
    assert_eq!(rows(&kv).iter().map(|row| row.place).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(block_on(library::deduplicate(&kv, "mine")).unwrap(), 0);
    let names: Vec<String> =
        block_on(library::list(&kv)).unwrap().into_iter().map(|found| found.name).collect();
    assert_eq!(names, ["mine"]);
}

// ---- tokens ----------------------------------------------------------------------------------------

#[test]
fn masked_rows_are_dropped_and_a_dataset_of_nothing_else_is_refused() {
    let chat = "{\"messages\": [{\"role\": \"user\", \"content\": \"what is the sea like\"}, {\"role\": \"assistant\", \"content\": \"wide\"}]}\n";
    let question = "{\"messages\": [{\"role\": \"user\", \"content\": \"what is the sea like\"}]}\n";
    let options = EncodeOptions { assistant_only_loss: true, ..Default::default() };
    let (set, rows) = tokenised(format!("{question}{chat}{question}"), options).unwrap();
    let report = set.report;
    assert_eq!((report.rows, report.kept, report.dropped, report.truncated), (3, 1, 2, 0));
    assert_eq!((report.tokens, report.labelled_tokens), (rows[0].ids.len() as u64, rows[0].targets() as u64));

    let short = EncodeOptions { max_length: Some(8), ..options };
    for (text, options, expected) in [
        (question, options, "all labels of all 1 rows are masked"),
        (chat, short, "max_length cuts every row before anything that is to be learnt; raise it"),
    ] {
        let error = tokenised(text, options).err().unwrap();
        assert_eq!(error.code, Code::BadData);
        assert!(error.to_string().contains(expected), "{error}");
    }
    for (text, expected) in [
        ("{\"text\": \"a\"}", "assistant_only_loss needs rows of messages"),
        ("{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}", "the row is a preference"),
    ] {
        let error = tokenised(text, options).err().unwrap().to_string();
        assert!(error.starts_with("train.jsonl line 1: ") && error.contains(expected), "{error}");
    }
}

/// The texts of the rows, what of them is labelled, and the codes of the notices.
fn learnt(row: Value, model: &Tokenizer, import_with: Value, options: EncodeOptions) -> [String; 3] {
    let kv = Rc::new(MemoryKv::default());
    import(&kv, row.to_string(), import_with).unwrap();
    let content = block_on(Description::rows(&kv, "mine")).unwrap();
    let encoder = Encoder::new(model, options);
    let set = block_on(TokenSet::make(&kv, &content, &encoder, &mut |_, _| true)).unwrap();
    let row = block_on(set.get(&kv, &[0])).unwrap().remove(0);
    let labelled: Vec<u32> =
        row.ids.iter().zip(&row.labelled).filter(|(_, labelled)| **labelled).map(|(id, _)| *id).collect();
    let codes: Vec<&str> = set.report.notices.iter().map(|notice| notice.code.as_str()).collect();
    [model.decode(&row.ids, false).unwrap(), model.decode(&labelled, false).unwrap(), codes.join(" ")]
}

/// The tokenizer of chatml without its template, as base models have it.
fn base_model() -> Tokenizer {
    let folder = fixtures().join("chatml");
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(folder.join("tokenizer_config.json")).unwrap()).unwrap();
    config.as_object_mut().unwrap().remove("chat_template");
    Tokenizer::new(&std::fs::read(folder.join("tokenizer.json")).unwrap(), &config, None).unwrap()
}

#[test]
fn a_question_and_its_answer_are_what_the_model_can_be_asked_by() {
    let (chat_model, base) = (tokenizer("chatml"), base_model());
    let row = json!({"system": "Be brief.", "question": "Is it open?", "answer": "Yes."});
    let chat = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nIs it open?<|im_end|>\n\
                <|im_start|>assistant\nYes.<|im_end|>\n";
    let text = "Be brief.\n\nIs it open?\nYes.<|im_end|>";
    let told = |code: &str| code.to_owned();
    for assistant_only_loss in [false, true] {
        let options = EncodeOptions { assistant_only_loss, ..Default::default() };
        let learnt = |model: &Tokenizer| learnt(row.clone(), model, json!({}), options);
        let [whole, answer, notices] = learnt(&chat_model);
        assert_eq!((whole.as_str(), notices), (chat, told("")));
        assert!(answer.trim_start_matches('\n').starts_with("Yes.<|im_end|>"), "{answer:?}");
        let [whole, answer, notices] = learnt(&base);
        assert_eq!((whole.as_str(), answer.as_str()), (text, "Yes.<|im_end|>"));
        assert_eq!(notices, told("pairs-without-template"));
    }
    let plain = json!({"prompt": "Is it open?", "completion": " Yes."});
    let options = EncodeOptions::default();
    let [whole, _, notices] = learnt(plain.clone(), &chat_model, json!({}), options);
    assert_eq!((whole.as_str(), notices), ("Is it open? Yes.<|im_end|>", told("pairs-as-text")));
    assert_eq!(learnt(plain.clone(), &base, json!({}), options)[2], "", "no other way to learn it");
    let [whole, _, notices] = learnt(plain, &chat_model, json!({"pairs": "chat"}), options);
    assert!(whole.contains("<|im_start|>user\nIs it open?<|im_end|>"), "{whole}");
    assert_eq!(notices, "");
    let [whole, ..] = learnt(row, &chat_model, json!({"pairs": "text"}), options);
    assert_eq!(whole, text);
}

#[test]
fn tool_calls_that_the_template_does_not_write_are_told() {
    let calls = json!([{"type": "function", "function": {"name": "w", "arguments": {}}}]);
    let row = json!({"messages": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": null, "tool_calls": calls},
        {"role": "tool", "content": "sunny"},
    ]});
    let notices = &learnt(row, &tokenizer("chatml"), json!({}), EncodeOptions::default())[2];
    assert_eq!(notices, "tool-calls-not-written");
}

/// Rows as builds before `pair` kept them, Alpaca's among them.
#[test]
fn rows_of_earlier_builds_are_learnt_as_before() {
    let (model, options) = (tokenizer("chatml"), EncodeOptions::default());
    let encoder = Encoder::new(&model, options);
    let text_of = |row: Value| {
        let row = encoder.encode(&Example::from_json(&row).unwrap()).unwrap();
        model.decode(&row.encoded.ids, false).unwrap()
    };
    assert_eq!(text_of(json!({"prompt": "Is it?", "completion": "Yes."})), "Is it?Yes.<|im_end|>");
    let alpaca = json!({"prompt": [{"role": "system", "content": "s"}, {"role": "User", "content": "Is it?"}],
        "completion": [{"role": "assistant", "content": "Yes."}]});
    let expected = "<|im_start|>system\ns<|im_end|>\n<|im_start|>User\nIs it?<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n";
    assert_eq!(text_of(alpaca.clone()), expected);
    let base = base_model();
    let error = Encoder::new(&base, options).encode(&Example::from_json(&alpaca).unwrap()).unwrap_err();
    assert_eq!(error.code, Code::BadModel);
    assert!(error.message.contains("take the model's chat variant"), "{error}");
}

#[test]
fn a_text_to_go_on_from_is_not_closed() {
    let bytes = std::fs::read(fixtures().join("chatml/tokenizer.json")).unwrap();
    let config = json!({"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "add_bos_token": true, "add_eos_token": true});
    let tokenizer = Tokenizer::new(&bytes, &config, None).unwrap();
    assert_eq!(
        tokenizer.decode(&tokenizer.text_ids("the sea").unwrap(), false).unwrap(),
        "<|im_start|>the sea"
    );
    let closed = tokenizer.text_ids("the sea<|im_end|>").unwrap();
    assert!(
        tokenizer.decode(&closed, false).unwrap().contains("the sea<|im_end|>"),
        "what was asked for stays"
    );
}

/// A tokenizer whose template refuses chats of roles that do not take turns.
fn strict() -> Tokenizer {
    let bytes = std::fs::read(fixtures().join("chatml/tokenizer.json")).unwrap();
    let source = "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}\
                  {{ raise_exception('roles must alternate') }}{% endif %}{{ m.content }}<|im_end|>{% endfor %}";
    Tokenizer::new(&bytes, &json!({}), Some(source.into())).unwrap()
}

#[test]
fn a_row_that_the_template_refuses_is_a_bad_row_like_any_other() {
    let row =
        |roles: [&str; 2]| json!({"messages": roles.map(|role| json!({"role": role, "content": "a b c"}))});
    let (good, bad) = (row(["user", "assistant"]), row(["assistant", "user"]));
    let text = format!("{good}\n{bad}\n{good}\n");
    let tokenizer = strict();
    let encoder = Encoder::new(&tokenizer, EncodeOptions::default());
    let make = |text: &str, import_with: Value| {
        let kv = Rc::new(MemoryKv::default());
        import(&kv, text, import_with).unwrap();
        let content = block_on(Description::rows(&kv, "mine")).unwrap();
        block_on(TokenSet::make(&kv, &content, &encoder, &mut |_, _| true))
    };
    let error = make(&text, json!({})).unwrap_err();
    assert_eq!(error.code, Code::BadData);
    assert!(
        error.to_string().starts_with("train.jsonl line 2: the chat template says: roles must"),
        "{error}"
    );

    let report = make(&text, json!({"on_bad_row": "skip"})).unwrap().report;
    assert_eq!((report.rows, report.kept, report.dropped, report.skipped), (3, 2, 1, 1));
    let told = &report.bad_rows[0];
    assert_eq!((told.file.as_str(), told.unit.as_str(), told.place), ("train.jsonl", "line", 2));
    assert!(told.reason.contains("roles must alternate"), "{}", told.reason);

    let none = make(&format!("{bad}\n"), json!({"on_bad_row": "skip"})).unwrap_err().to_string();
    assert!(none.contains("none of 1 rows can be used") && none.contains("roles must alternate"), "{none}");
}

#[test]
fn a_stop_is_heard_between_rows() {
    let slow = "{% for i in range(90000) %}{% endfor %}{{ messages[0].content }}";
    let bytes = std::fs::read(fixtures().join("chatml/tokenizer.json")).unwrap();
    let tokenizer = Tokenizer::new(&bytes, &json!({}), Some(slow.into())).unwrap();
    let kv = Rc::new(MemoryKv::default());
    let row = json!({"messages": [{"role": "user", "content": "a b c"}]}).to_string() + "\n";
    import(&kv, row.repeat(500), json!({})).unwrap();
    let content = block_on(Description::rows(&kv, "mine")).unwrap();
    assert_eq!(content.blocks(), 1);
    let mut calls = 0;
    let encoder = Encoder::new(&tokenizer, EncodeOptions::default());
    let stopped = block_on(tokens::tokenize(&kv, &content, &encoder, &mut |_, _| {
        calls += 1;
        calls < 2
    }));
    assert_eq!(stopped.unwrap_err().code, Code::Cancelled);
}

#[test]
fn what_earlier_builds_stored_opens() {
    let content: library::Content = serde_json::from_value(json!({
        "id": "mine/1", "rows": 1, "bytes": 9, "fingerprint": "", "block_rows": [1], "files": ["a"]
    }))
    .unwrap();
    assert_eq!(content.on_bad_row, OnBadRow::Stop);
    let report: tokens::DatasetReport = serde_json::from_value(json!({
        "rows": 1, "kept": 1, "dropped": 0, "truncated": 0, "tokens": 3, "labelled_tokens": 2, "longest": 3
    }))
    .unwrap();
    assert_eq!((report.skipped, report.bad_rows.len()), (0, 0));
}

/// One tab begins, another one is through before the first has written its first block.
#[test]
fn a_tab_that_is_behind_takes_nothing_back() {
    let kv = Rc::new(MemoryKv::default());
    import(&kv, large(), json!({})).unwrap();
    let tokenizer = tokenizer("chatml");
    let encoder = Encoder::new(&tokenizer, EncodeOptions::default());
    let content = block_on(Description::rows(&kv, "mine")).unwrap();
    assert!(content.blocks() > 1);
    let mut others = None;
    let report = block_on(tokens::tokenize(&kv, &content, &encoder, &mut |_, _| {
        others.get_or_insert_with(|| make(&kv, EncodeOptions::default()).unwrap());
        let stored = block_on(tokens::reports(&kv, &content)).unwrap();
        assert_eq!(stored[0].rows, 3000, "what the other tab has written is lost");
        true
    }));
    assert_eq!(Some(report.unwrap()), others.map(|set| set.report));
}

/// Two tabs may tokenise one set: the description that was written last need not know all parts.
#[test]
fn a_set_is_what_its_description_knows_of() {
    let kv = Rc::new(MemoryKv::default());
    import(&kv, large(), json!({})).unwrap();
    let set = make(&kv, EncodeOptions::default()).unwrap();
    let (key, json) = block_on(kv.scan(Table::TokenSets, None)).unwrap().remove(0);
    let mut progress: Value = serde_json::from_slice(&json).unwrap();
    progress["report"]["longest"] = json!(1);
    block_on(kv.write(vec![Write::Put(key, progress.to_string().into())])).unwrap();
    let again = make(&kv, EncodeOptions::default()).unwrap();
    assert_eq!(again.report.longest, *set.index.lengths.iter().max().unwrap());

    // The last part of the index is of another tab.
    let (key, _) = block_on(kv.scan(Table::TokenSets, None)).unwrap().remove(0);
    progress["parts"] = json!(block_on(kv.scan(Table::TokenIndex, None)).unwrap().len() - 1);
    block_on(kv.write(vec![Write::Put(key, progress.to_string().into())])).unwrap();
    let fewer = make(&kv, EncodeOptions::default()).unwrap();
    assert!(fewer.len() < set.len() && set.index.lengths.starts_with(&fewer.index.lengths));
}

#[test]
fn a_long_row_is_cut_at_the_right_and_counted() {
    let text = format!("{{\"text\": \"{}\"}}\n{{\"text\": \"short\"}}\n", "the sea ".repeat(100));
    let whole = tokenised(text.clone(), EncodeOptions::default()).unwrap().1;
    let (set, rows) = tokenised(text, EncodeOptions { max_length: Some(16), ..Default::default() }).unwrap();
    let short = rows[1].ids.len() as u32;
    assert_eq!(rows[0].ids, whole[0].ids[..16]);
    assert_eq!(rows[1], whole[1]);
    assert_eq!((set.report.truncated, set.report.longest), (1, 16));
    assert_eq!(set.index.lengths, [16, short]);
    assert_eq!(set.index.targets, [15, short - 1]);

    let full = whole[0].ids.len() as u32;
    let lengths = Lengths::new(&set, 4);
    assert_eq!((lengths.longest, lengths.cut_rows, lengths.cut_tokens), (full, 1, u64::from(full - 16)));
    assert_eq!(lengths.rows, [1, 0, 0, 1]);
    assert_eq!(lengths.width, (full + 1).div_ceil(4));
}

#[test]
fn tokenising_that_was_cut_goes_on_and_is_done_once() {
    let kv = Failing::after(usize::MAX, Code::Io);
    import(&kv, large(), json!({})).unwrap();
    let tokenizer = tokenizer("chatml");
    let encoder = Encoder::new(&tokenizer, EncodeOptions::default());
    let content = block_on(Description::rows(&kv, "mine")).unwrap();
    let run =
        |go_on: &mut dyn FnMut(u64, u64) -> bool| block_on(TokenSet::make(&kv, &content, &encoder, go_on));
    kv.writes_left.set(1);
    assert_eq!(run(&mut |_, _| true).unwrap_err().code, Code::Io);
    kv.writes_left.set(usize::MAX);
    let mut told = Vec::new();
    let stopped = run(&mut |done, rows| {
        told.push((done, rows));
        told.len() < 2
    });
    assert_eq!(stopped.unwrap_err().code, Code::Cancelled);
    assert!(told[0].0 > 0, "the first block is not tokenised again: {told:?}");
    let set = run(&mut |_, _| true).unwrap();
    assert_eq!(set.report.kept, 3000);
    kv.writes_left.set(0);
    assert_eq!(run(&mut |_, _| true).unwrap(), set, "nothing is written any more");

    let whole = Rc::new(MemoryKv::default());
    import(&whole, large(), json!({})).unwrap();
    let all: Vec<u32> = (0..3000).collect();
    let uncut = make(&whole, EncodeOptions::default()).unwrap();
    assert_eq!(block_on(set.get(&kv, &all)).unwrap(), block_on(uncut.get(&whole, &all)).unwrap());
}

#[test]
fn held_out_rows_stay_held_out() {
    let kv = Rc::new(MemoryKv::default());
    let text = |range: std::ops::Range<usize>| -> String {
        range.map(|index| format!("{{\"text\": \"number {index}\"}}\n")).collect()
    };
    import(&kv, text(0..2000), json!({})).unwrap();
    let set = Rc::new(make(&kv, EncodeOptions::default()).unwrap());
    let [train, held_out] = Selection::split(set, 0.1);
    assert_eq!(train.rows.len() + held_out.rows.len(), 2000);
    assert!((150..250).contains(&held_out.rows.len()), "{} of 2000", held_out.rows.len());
    import(&kv, text(2000..3000), json!({"append": true})).unwrap();
    let set = Rc::new(make(&kv, EncodeOptions::default()).unwrap());
    let [_, later] = Selection::split(set.clone(), 0.1);
    assert!(later.rows.starts_with(&held_out.rows) && later.rows.len() > held_out.rows.len());
    let of_stored = |test_size: f64| block_on(tokens::held_out(&kv, "mine", test_size));
    assert_eq!(of_stored(0.1).unwrap(), later.rows, "also before they are tokens");
    for no_share in [-0.1, 1.0, f64::NAN] {
        assert_eq!(of_stored(no_share).unwrap_err().code, Code::BadOption);
    }
    let [all, none] = Selection::split(set, 0.0);
    assert_eq!((all.rows.len(), none.rows.len()), (3000, 0));
}

#[test]
fn a_held_out_share_of_few_rows_has_rows_on_both_sides() {
    let split = |rows: &[String], test_size: f64| {
        let kv = Rc::new(MemoryKv::default());
        let lines: String = rows.iter().map(|row| format!("{{\"text\": \"{row}\"}}\n")).collect();
        import(&kv, lines, json!({})).unwrap();
        let set = Rc::new(make(&kv, EncodeOptions::default()).unwrap());
        let [train, held_out] = Selection::split(set, test_size).map(|selection| selection.rows);
        assert_eq!(block_on(tokens::held_out(&kv, "mine", test_size)).unwrap(), held_out);
        [train, held_out]
    };
    for number in 0..40 {
        let rows: Vec<String> = (0..5).map(|row| format!("row {row} of {number}")).collect();
        for (count, test_size) in [(5, 0.2), (2, 0.5), (2, 0.01), (3, 0.999), (5, 1e-12)] {
            let [train, held_out] = split(&rows[..count], test_size);
            assert!(
                !train.is_empty() && !held_out.is_empty(),
                "{test_size} of {count}: {train:?} {held_out:?}"
            );
            assert_eq!(train.len() + held_out.len(), count);
        }
        // The row of the least hash is held out, whatever the order.
        let [_, held_out] = split(&rows, 1e-12);
        let reversed: Vec<String> = rows.iter().rev().cloned().collect();
        assert_eq!(split(&reversed, 1e-12)[1], [4 - held_out[0]]);
        // Equal rows stay together.
        let again = [rows.clone(), rows.clone()].concat();
        assert_eq!(split(&again, 1e-12)[1], [held_out[0], held_out[0] + 5]);
        assert_eq!(split(&rows[..1], 0.5), [vec![0], vec![]]);
        assert!(split(&rows, 0.0)[1].is_empty());
    }
}

#[test]
fn a_sample_is_spread_evenly() {
    let set = Rc::new(TokenSet::alike(100, RowUse::Supervised, 8));
    let sample = |most| Selection::all(set.clone()).sample(most).rows;
    assert_eq!(sample(4), [0, 25, 50, 75]);
    assert_eq!(sample(1), [0]);
    assert_eq!(sample(100), (0..100).collect::<Vec<_>>());
    assert_eq!(sample(1000).len(), 100);
    let three = Selection { set: set.clone(), rows: vec![7, 9, 11] };
    assert_eq!(three.sample(2).rows, [7, 9]);
}

#[test]
fn a_look_shows_what_the_model_sees() {
    let kv = Rc::new(MemoryKv::default());
    let chat = "{\"messages\": [{\"role\": \"user\", \"content\": \"hé\"}, {\"role\": \"assistant\", \"content\": \"wide\"}]}\n";
    import(&kv, chat, json!({})).unwrap();
    let tokenizer = tokenizer("chatml");
    let options = EncodeOptions { assistant_only_loss: true, ..Default::default() };
    let encoder = Encoder::new(&tokenizer, options);
    let seen = SeenRow::new(&rows(&kv)[0], &tokenizer, &encoder).unwrap();
    let text: String = seen.tokens.iter().map(|token| token.text.as_str()).collect();
    assert!(text.contains("hé") && text.contains("wide") && text.contains("<|im_end|>"), "{text}");
    let labelled: String =
        seen.tokens.iter().filter(|token| token.labelled).map(|token| token.text.as_str()).collect();
    assert!(labelled.contains("wide") && !labelled.contains("hé"), "{labelled}");
    assert!(seen.tokens.iter().any(|token| token.special) && seen.full_length as usize == seen.tokens.len());
}

proptest! {
    #[test]
    fn a_row_is_found_wherever_its_block_is(
        rows in prop::collection::vec(1usize..3000, 1..80), picks in prop::collection::vec(any::<prop::sample::Index>(), 1..9),
    ) {
        let kv = MemoryKv::default();
        let row = |(number, &length): (usize, &usize)| Encoded {
            ids: (0..length as u32).map(|token| token + number as u32).collect(),
            labelled: (0..length).map(|token| token % 3 > 0 || token == 1).collect(),
        };
        // A row of one token has no target and is dropped.
        let rows: Vec<Encoded> = rows.iter().enumerate().map(row).filter(|row| row.targets() > 0).collect();
        prop_assume!(!rows.is_empty());
        let set = block_on(TokenSet::of_rows(&kv, "rows", RowUse::Supervised, &rows)).unwrap();
        let picks: Vec<u32> = picks.iter().map(|pick| pick.index(rows.len()) as u32).collect();
        let found = block_on(set.get(&kv, &picks)).unwrap();
        for (found, &pick) in found.iter().zip(&picks) {
            prop_assert_eq!(found, &rows[pick as usize]);
        }
    }
}

#[test]
fn the_reason_for_skipping_is_an_option() {
    assert_eq!(options(json!({})).on_bad_row, OnBadRow::Stop);
    assert!(serde_json::from_value::<ImportOptions>(json!({"on_bad_row": "ignore"})).is_err());
}
