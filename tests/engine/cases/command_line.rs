//! The command line itself: what it refuses before anything is opened, and what it asks the model.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tabtune::error::Code;

use super::options::{Evaluated, Options};
use super::question::Question;
use super::setting::{bundled, empty_folder};

struct Folder(PathBuf);

impl Folder {
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("the folder is writable");
        path.to_str().expect("paths are UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the folder can be removed");
    }
}

fn parse(args: &[&str]) -> tabtune::error::Result<Options> {
    Options::parse(args.iter().map(|arg| (*arg).to_owned()), &bundled())
}

#[test]
fn what_is_wrong_is_said_before_anything_is_opened() {
    let folder = Folder(empty_folder());
    let rows = folder.write("rows.jsonl", "{\"text\": \"a\"}\n");
    let inside = folder.0.to_str().expect("paths are UTF-8");
    let share = folder.write("share.json", json!({"train": {"test_size": 0.2}}).to_string());
    let start = folder.write("start.json", json!({"init_adapter": "nowhere"}).to_string());
    let lora = folder.write("lora.json", json!({"lora": {"alpha": 8}}).to_string());
    let refused = |args: &[&str], code: Code, parts: &[&str]| {
        let Err(error) = parse(args) else { panic!("{args:?} was accepted") };
        assert_eq!(error.code, code, "{error}");
        assert!(parts.iter().all(|part| error.to_string().contains(part)), "{error}");
    };
    refused(&["--nope", "1"], Code::BadOption, &["--nope"]);
    refused(&["--data"], Code::BadOption, &["--data"]);
    refused(&["--data", inside], Code::Io, &["is a folder", "rows.jsonl"]);
    refused(&["--eval", inside], Code::Io, &["--eval", "is a folder"]);
    refused(&["--config", inside], Code::Io, &["--config", "is a folder"]);
    refused(&["--data", "nowhere.jsonl"], Code::Io, &["--data nowhere.jsonl does not exist"]);
    refused(&["--model", &rows], Code::Io, &["is a file"]);
    refused(&["--model", "./some/where"], Code::Io, &["no folder ./some/where"]);
    refused(&["--model", "owner/name"], Code::Io, &["no folder owner/name", "takes a folder", "download"]);
    refused(&["--model", "https://huggingface.co/owner/name"], Code::Io, &["takes a folder", "download"]);
    refused(&["--out", &rows], Code::Io, &["--out", "is a file"]);
    refused(&["--data", &rows, "--config", &start], Code::Io, &["init_adapter", "nowhere"]);
    refused(&["--data", &rows, "--config", &lora], Code::BadOption, &["lora.alpha"]);
    refused(&["--eval", &rows, "--config", &share], Code::BadOption, &["--eval", "train.test_size"]);
}

#[test]
fn the_rows_that_are_evaluated() {
    let folder = Folder(empty_folder());
    let rows = folder.write("rows.jsonl", "{\"text\": \"a\"}\n");
    let share = folder.write("share.json", json!({"train": {"test_size": 0.2}}).to_string());
    let evaluated = |args: &[&str]| parse(args).expect("all is right").evaluated;
    assert!(matches!(evaluated(&[]), Evaluated::File(path) if path.ends_with("faq.heldout.jsonl")));
    assert!(matches!(evaluated(&["--data", &rows]), Evaluated::Sample));
    assert!(
        matches!(evaluated(&["--data", &rows, "--eval", &rows]), Evaluated::File(path) if path == Path::new(&rows))
    );
    assert!(matches!(evaluated(&["--data", &rows, "--config", &share]), Evaluated::Share));
}

#[test]
fn a_config_may_begin_with_a_byte_order_mark() {
    let folder = Folder(empty_folder());
    let text = "\u{feff}{\"train\": {\"max_steps\": 1}}";
    let units: Vec<u16> = text.encode_utf16().collect();
    for (name, bytes) in [
        ("8.json", text.as_bytes().to_vec()),
        ("16le.json", units.iter().flat_map(|unit| unit.to_le_bytes()).collect()),
        ("16be.json", units.iter().flat_map(|unit| unit.to_be_bytes()).collect()),
    ] {
        let path = folder.write(name, bytes);
        assert_eq!(parse(&["--config", &path]).expect("it is read").config["train"]["max_steps"], 1);
    }
}

#[test]
fn what_a_row_asks() {
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let (system, user) = (message("system", "Be brief."), message("user", "What  is\nthis?"));
    let answer = message("assistant", "A test.");
    let of = |row: Value| Question::of(&row).map(|asked| (asked.prompt, asked.without_template, asked.text));
    let asked = |prompt: Value| Some((prompt, None, "What is this?".to_owned()));
    assert_eq!(of(json!({"messages": [system, user, answer, user]})), asked(json!([system, user])));
    assert_eq!(of(json!({"prompt": [user], "completion": [answer]})), asked(json!([user])));
    assert_eq!(of(json!({"messages": [answer]})), None);
    let pair = of(json!({"prompt": [system, user], "completion": [answer], "pair": true})).expect("it asks");
    assert_eq!(pair.1, Some(json!("Be brief.\n\nWhat  is\nthis?\n")));
    let text = |row: Value| of(row).map(|(prompt, _, _)| prompt);
    assert_eq!(text(json!({"prompt": "One and", "completion": " two"})), Some(json!("One and")));
    assert_eq!(text(json!({"text": "one two three four"})), Some(json!("one two")));
    assert_eq!(text(json!({"text": "ab"})), Some(json!("a")));
    assert_eq!(text(json!({"text": "😀".repeat(300)})), Some(json!("😀".repeat(150))));
}
