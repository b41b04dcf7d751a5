//! What a case needs on the disk, and the command line that takes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value};

/// A case that is ready to run. Its files go away with it.
pub struct Setting {
    pub args: Vec<String>,
    /// Where the run writes.
    pub out: PathBuf,
    folder: PathBuf,
}

impl Setting {
    /// Writes what a case in `folder` needs.
    pub fn new(folder: &Path, run: &Value) -> Self {
        let tmp = empty_folder();
        let out = tmp.join("out");
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the project");
        let fill = |text: &str| {
            let places = [("{case}", folder), ("{repo}", repo), ("{tmp}", &tmp)];
            places.iter().fold(text.to_owned(), |text, (mark, path)| text.replace(mark, &text_of(path)))
        };
        let mut args: Vec<String> = list(&run["args"]).map(fill).collect();
        if !args.iter().any(|argument| argument == "--device") {
            args.extend(["--device".to_owned(), "cpu".to_owned()]);
        }
        if run["model"].is_object() {
            let model = tmp.join("model");
            write_model(&run["model"], folder, repo, &model);
            args.extend(["--model".to_owned(), text_of(&model)]);
        }
        if let Some(script) = run["make"].as_str() {
            let made = Command::new("node").arg(folder.join(script)).args([repo, &tmp]).status();
            assert!(made.expect("node is there").success(), "{script} failed");
        }
        if run["config"].is_object() {
            let config = tmp.join("config.json");
            fs::write(&config, fill(&run["config"].to_string())).expect("the folder is writable");
            args.extend(["--config".to_owned(), text_of(&config)]);
        }
        args.extend(["--out".to_owned(), text_of(&out)]);
        Setting { args, out, folder: tmp }
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).expect("the folder can be removed");
    }
}

/// A folder of this process alone.
pub fn empty_folder() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("tabtune-case-{}-{number}", process::id()));
    fs::create_dir(&path).expect("the folder is new");
    path
}

/// A copy of a model with files put into it and JSON files changed.
fn write_model(wanted: &Value, case: &Path, repo: &Path, model: &Path) {
    fs::create_dir(model).expect("the folder is new");
    let from = repo.join(wanted["copy"].as_str().expect("a model is a copy of another"));
    for entry in fs::read_dir(&from).expect("the model is there").flatten() {
        fs::copy(entry.path(), model.join(entry.file_name())).expect("a file can be copied");
    }
    for (name, file) in entries(&wanted["files"]) {
        fs::copy(case.join(file.as_str().expect("files are named")), model.join(name))
            .expect("the case has it");
    }
    for (name, changes) in entries(&wanted["json"]) {
        let path = model.join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|_| "{}".to_owned());
        let mut value: Map<String, Value> = serde_json::from_str(&text).expect("it is an object of JSON");
        value.extend(entries(&changes["set"]).map(|(key, value)| (key.clone(), value.clone())));
        for key in list(&changes["remove"]) {
            value.remove(key);
        }
        for (key, items) in entries(&changes["append"]) {
            let list = value.entry(key).or_insert_with(|| Value::Array(Vec::new()));
            let (list, items) = (list.as_array_mut().expect("a list"), items.as_array().expect("a list"));
            list.extend(items.iter().cloned());
        }
        fs::write(&path, Value::Object(value).to_string()).expect("the folder is writable");
    }
}

fn list(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text_of(path: &Path) -> String {
    path.to_str().expect("paths are UTF-8").to_owned()
}

/// The model and the rows that come with the project.
pub fn bundled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../www")
}
