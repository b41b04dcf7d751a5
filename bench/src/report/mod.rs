//! One table and one JSON from what `run.sh` of a GPU kit left in a folder.
//!
//! A part that was run has `NN-NAME.json` (how it ended) and `NN-NAME.out` (what it printed: lines of JSON, or
//! what a test program says); `kit.json` and `run.json` tell of what and where. Any of them may be missing or
//! cut short, because the run may have been killed at any moment.

mod markdown;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tabtune::error::{Code, Error, Result};

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    pub name: String,
    /// `ok`, `FAILED` or `ignored`.
    pub verdict: String,
}

/// One part of a run.
pub struct Part {
    pub name: String,
    /// `part`, `status` (`done`, `failed`, `cut`, `stuck` or `skipped`), `exit`, `seconds`, `limit`. A part that
    /// did not come to write them was `killed` with the run.
    pub end: Value,
    pub results: Vec<Value>,
    pub tests: Vec<Test>,
    /// The tests that a test program set out to run.
    pub announced: usize,
}

/// A whole run.
pub struct Report {
    pub kit: Value,
    pub run: Value,
    /// In the order in which they ran.
    pub parts: Vec<Part>,
}

impl Report {
    /// Reads the folder of a run. Lines that are not whole are left out.
    ///
    /// # Errors
    ///
    /// `io` where the folder cannot be listed.
    pub fn read(folder: &Path) -> Result<Self> {
        let failed = |error| Error::new(Code::Io, format!("{}: {error}", folder.display()));
        let mut stems = BTreeSet::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            let stem = name.strip_suffix(".json").or(name.strip_suffix(".out"));
            stems.extend(
                stem.filter(|stem| stem.starts_with(|first: char| first.is_ascii_digit())).map(str::to_owned),
            );
        }
        let text = |name: &str| fs::read(folder.join(name)).unwrap_or_default();
        let value = |name: &str| serde_json::from_slice(&text(name)).unwrap_or_default();
        let part = |stem: &String| {
            let name = stem.split_once('-').map_or(stem.as_str(), |(_, name)| name);
            let end = Some(value(&format!("{stem}.json"))).filter(Value::is_object);
            let printed = String::from_utf8_lossy(&text(&format!("{stem}.out"))).into_owned();
            Part {
                name: name.to_owned(),
                end: end.unwrap_or_else(|| json!({"part": name, "status": "killed"})),
                results: printed.lines().filter_map(result).collect(),
                tests: printed.lines().filter_map(test).collect(),
                announced: printed.lines().find_map(announced).unwrap_or_default(),
            }
        };
        let parts = stems.iter().map(part).collect();
        Ok(Report { kit: value("kit.json"), run: value("run.json"), parts })
    }

    /// All of it, for programs.
    pub fn json(&self) -> Value {
        let part = |part: &Part| {
            let tests: serde_json::Map<_, _> =
                part.tests.iter().map(|test| (test.name.clone(), test.verdict.as_str().into())).collect();
            let mut all = part.end.clone();
            all["results"] = part.results.clone().into();
            all["tests"] = tests.into();
            all
        };
        let parts = self.parts.iter().map(part);
        json!({"kit": self.kit, "run": self.run, "parts": parts.collect::<Vec<_>>()})
    }

    /// The tables for `docs/performance.md`.
    pub fn markdown(&self) -> String {
        markdown::of(self)
    }

    /// The results of the kind `bench`, of all parts.
    fn results<'a>(&'a self, bench: &'a str) -> impl Iterator<Item = &'a Value> {
        self.parts.iter().flat_map(|part| &part.results).filter(move |result| result["bench"] == bench)
    }

    /// The results of the parts whose names begin with `prefix`, of the kind `bench`.
    fn of_parts<'a>(&'a self, prefix: &'a str, bench: &'a str) -> impl Iterator<Item = &'a Value> {
        let parts = self.parts.iter().filter(move |part| part.name.starts_with(prefix));
        parts.flat_map(|part| &part.results).filter(move |result| result["bench"] == bench)
    }
}

/// Writes `table.md` and `results.json` into the folder of a run, each whole or not at all.
pub fn write(folder: &Path) -> Result<()> {
    let report = Report::read(folder)?;
    let json = serde_json::to_string_pretty(&report.json()).expect("a report is plain data");
    for (name, text) in [("table.md", report.markdown()), ("results.json", json)] {
        let (making, made) = (folder.join(format!("{name}.part")), folder.join(name));
        let written = fs::write(&making, text).and_then(|()| fs::rename(&making, &made));
        written.map_err(|error| Error::new(Code::Io, format!("{}: {error}", made.display())))?;
    }
    Ok(())
}

fn result(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok().filter(|value: &Value| value["bench"].is_string())
}

/// What a test program says first: `running N tests`.
fn announced(line: &str) -> Option<usize> {
    line.strip_prefix("running ")?.split(' ').next()?.parse().ok()
}

/// What a line of a test program says of a test: `test NAME ... VERDICT`.
fn test(line: &str) -> Option<Test> {
    let (name, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let verdict = verdict.split([',', ' ']).next().unwrap_or_default();
    matches!(verdict, "ok" | "FAILED" | "ignored")
        .then(|| Test { name: name.to_owned(), verdict: verdict.to_owned() })
}
