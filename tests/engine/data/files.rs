//! Files as spreadsheets, editors and Python write them, imported under the names that people give them.

use std::rc::Rc;

use pollster::block_on;
use serde_json::{Value, json};
use tabtune::data::import::{Importer, import_file};
use tabtune::data::kv::MemoryKv;
use tabtune::data::library::{self, ImportOptions, ImportReport};
use tabtune::error::{Code, Result};

use super::InMemory;

fn imported(name: &str, bytes: &[u8], options: Value) -> Result<(ImportReport, Vec<Value>)> {
    let kv = Rc::new(MemoryKv::default());
    let files = InMemory::with(name, bytes);
    let options: ImportOptions = serde_json::from_value(options).unwrap();
    let report = block_on(import_file(kv.clone(), "mine", &files, name, options, &mut |_, _| ()))?;
    let rows = block_on(library::rows(&kv, "mine", 0, 100))?;
    Ok((report, rows.into_iter().map(|row| row.row).collect()))
}

fn rows(name: &str, bytes: impl AsRef<[u8]>, options: Value) -> Vec<Value> {
    imported(name, bytes.as_ref(), options).unwrap_or_else(|error| panic!("{name}: {error}")).1
}

fn pairs(of: &[[&str; 2]]) -> Vec<Value> {
    of.iter().map(|[prompt, completion]| json!({"prompt": prompt, "completion": completion})).collect()
}

fn texts(of: &[&str]) -> Vec<Value> {
    of.iter().map(|text| json!({"text": text})).collect()
}

fn utf_16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

#[test]
fn tables_of_every_make_are_read() {
    let expected = pairs(&[["When?", "From ten."], ["Where?", "Here, there"]]);
    for (name, text) in [
        ("index.csv", ",prompt,completion\n0,When?,From ten.\n1,Where?,\"Here, there\"\n"),
        ("bar.csv", "prompt|completion\nWhen?|From ten.\nWhere?|Here, there\n"),
        ("sep.csv", "sep=;\r\nprompt;completion\r\nWhen?;From ten.\r\nWhere?;Here, there\r\n"),
        ("empty.csv", "prompt;completion;;\nWhen?;From ten.;;\n;;;\nWhere?;Here, there;;\n;;;\n"),
        ("table.csv.txt", "prompt;completion\nWhen?;From ten.\nWhere?;Here, there\n"),
        (
            "rows.csv",
            "{\"prompt\": \"When?\", \"completion\": \"From ten.\"}\n{\"prompt\": \"Where?\", \"completion\": \"Here, there\"}",
        ),
    ] {
        assert_eq!(rows(name, text, json!({})), expected, "{name}");
    }
    let wide = "\u{FEFF}prompt\tcompletion\r\nWhen?\tFrom ten.\r\nWhere?\t\"Here, there\"\r\n";
    for (name, bytes) in [
        ("unicode.txt", utf_16(wide, u16::to_le_bytes)),
        ("unicode.tsv", utf_16(wide, u16::to_be_bytes)),
        ("unmarked.csv", utf_16(&wide[3..], u16::to_le_bytes)),
    ] {
        assert_eq!(rows(name, bytes, json!({})), expected, "{name}");
    }
    let bare = b"When is it open?,From ten.\nWhere?,\"Here, there\"";
    let error = imported("bare.csv", bare, json!({})).unwrap_err();
    assert!(error.to_string().contains("pass header: false"), "{error}");
    let bare = b"When?,From ten.\nWhere?,\"Here, there\"";
    let columns = json!({"prompt": "0", "completion": "1"});
    let options = json!({"columns": columns, "pairs": "text", "format": {"header": false}});
    // A question ends in a line end where it is learnt as text.
    let questions = pairs(&[["When?\n", "From ten."], ["Where?\n", "Here, there"]]);
    assert_eq!(rows("bare.csv", bare, options), questions);
}

#[test]
fn quotation_marks_in_tsv_are_text() {
    let three = |first: &str, third: &str| pairs(&[[first, "Hello"], ["Merci", "Thanks"], [third, "Hi"]]);
    let pair = "prompt\tcompletion\n\"Bonjour\tHello\nMerci\tThanks\nSalut\"\tHi\n";
    assert_eq!(rows("rows.tsv", pair, json!({})), three("\"Bonjour", "Salut\""));
    let single = "prompt\tcompletion\n\"Bonjour\tHello\nMerci\tThanks\nSalut\tHi\n";
    assert_eq!(rows("rows.tsv", single, json!({})), three("\"Bonjour", "Salut"));
}

#[test]
fn json_under_a_wrong_name_or_in_another_dialect_is_read() {
    let expected = texts(&["one two", "three four"]);
    for (name, text) in [
        ("array.jsonl", "[\n {\"text\":\"one two\"},\n {\"text\":\"three four\"}\n]\n"),
        ("line.jsonl", "[{\"text\":\"one two\"},{\"text\":\"three four\"}]"),
        ("commas.jsonl", "{\"text\":\"one two\"},\n{\"text\":\"three four\"}\n"),
        ("pretty.jsonl", "{\n  \"text\": \"one two\"\n}\n{\n  \"text\": \"three four\"\n}\n"),
        ("pretty.json", "{\n  \"text\": \"one two\"\n},\n{\n  \"text\": \"three four\"\n}\n"),
        ("rows.jsonl.txt", "{\"text\": \"one two\"}\n{\"text\": \"three four\"}\n"),
        ("rows.txt", "{\"text\": \"one two\"}\n{\"text\": \"three four\"}\n"),
        (
            "nan.jsonl",
            "{\"text\": \"one two\", \"score\": NaN}\n{\"text\": \"three four\", \"x\": -Infinity}",
        ),
    ] {
        assert_eq!(rows(name, text, json!({})), expected, "{name}");
    }
    let wide = "\u{FEFF}{\"text\": \"one two\"}\r\n{\"text\": \"three four\"}\r\n";
    assert_eq!(rows("wide.jsonl", utf_16(wide, u16::to_le_bytes), json!({})), expected);
}

#[test]
fn front_matter_is_no_prose() {
    let note = "---\ntags: [library, hours]\naliases:\n  - opening\n---\n# Opening hours\n\nAt ten.\n";
    assert_eq!(rows("note.md", note, json!({})), texts(&["# Opening hours\n\nAt ten."]));
}

#[test]
fn a_file_of_another_encoding_is_refused_as_a_whole() {
    let csv = b"prompt;completion\nWann?;Um zehn\nWo?;M\xFChlgasse 12\n".as_slice();
    for (name, bytes, line) in [
        ("rows.csv", csv, 3),
        ("rows.tsv", b"prompt\tcompletion\nWo?\tM\xFChle\n", 2),
        ("rows.jsonl", b"{\"text\": \"Um zehn\"}\n{\"text\": \"M\xFChle\"}\n", 2),
        ("rows.json", b"[{\"text\": \"M\xFChle\"}]", 1),
        ("rows.txt", b"Um zehn.\n\nM\xFChle.\n", 3),
    ] {
        for on_bad_row in ["stop", "skip"] {
            let error = imported(name, bytes, json!({"on_bad_row": on_bad_row})).unwrap_err();
            let message = error.to_string();
            assert_eq!(error.code, Code::BadData);
            assert!(
                message.starts_with(&format!("{name}: line {line}: the file is not UTF-8; ")),
                "{message}"
            );
            assert!(message.contains("encoding: \"windows-1252\""), "{message}");
        }
    }
    let encoding = json!({"format": {"encoding": "windows-1252"}});
    assert_eq!(rows("rows.csv", csv, encoding), pairs(&[["Wann?", "Um zehn"], ["Wo?", "Mühlgasse 12"]]));
    let unknown = serde_json::from_value::<ImportOptions>(json!({"format": {"encoding": "ebcdic"}}));
    assert!(unknown.unwrap_err().to_string().contains("windows-1252"));
}

#[test]
fn files_of_other_programs_are_refused_in_plain_words() {
    for (name, bytes, what) in [
        ("table.xlsx", b"PK\x03\x04\x14\0\x08\0\xFF\xFE".as_slice(), "save a workbook's sheet as CSV UTF-8"),
        ("table.csv", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1\0\0", "old Excel workbook"),
        ("note.pdf", b"%PDF-1.7\n", "is a PDF"),
        ("rows.parquet", b"PAR1\x15\x04\x15\x20", "is a Parquet file"),
        ("rows.jsonl.gz", b"\x1F\x8B\x08\0\0\0\0\0", "is packed with gzip"),
        ("rows.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        ("rows.json", b"<!doctype html>\n<html></html>", "is a web page"),
    ] {
        let error = imported(name, bytes, json!({"on_bad_row": "skip"})).unwrap_err();
        let message = error.to_string();
        assert_eq!(error.code, Code::BadData);
        assert!(message.starts_with(&format!("{name}: the file ")) && message.contains(what), "{message}");
    }
}

#[test]
fn files_that_are_left_out_are_reported() {
    let kv = Rc::new(MemoryKv::default());
    let report = block_on(async {
        let mut importer = Importer::begin(kv.clone(), "mine", ImportOptions::default(), false).await?;
        for number in 0..200 {
            importer.ignore_file(&format!("set/{number}.png"), "is no kind of file that is read");
        }
        importer.begin_file("set/a.jsonl", None)?;
        importer.push(b"{\"text\": \"a\"}").await?;
        importer.end_file().await?;
        importer.finish().await
    })
    .unwrap();
    let files = json!(report)["ignored_files"].clone();
    assert_eq!(files[1], json!({"file": "set/1.png", "reason": "is no kind of file that is read"}));
    assert_eq!(files.as_array().unwrap().len(), 100);
}
