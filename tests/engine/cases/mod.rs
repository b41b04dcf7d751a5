//! Inputs that are common elsewhere, each with what is right: runs of the command line on the native engine.
//!
//! Every folder in `tests/cases` is a case. Its `case.json` says how to run it and what must come of it:
//!
//! - `run.args` is the command line, in which `{case}` is the case's folder, `{repo}` the project's and `{tmp}` an
//!   empty one. `run.config` becomes a file that is given as `--config`.
//! - `run.model` is a copy of the folder `copy` with `files` put into it and JSON files changed (`set`, `remove`,
//!   `append` to a list), which is given as `--model`. `run.make` is a script that is run before: `node make.mjs
//!   REPO TMP`.
//! - `run.expect.any_of` lists outcomes, of which one must hold. `exit` is 0 or 1; `rows`, `tokens`, `labelled` and
//!   `dropped` are those of the line on the training rows, as a number or as [least, most]; `output` and `no_output`
//!   are patterns for what is said; `adapter_names` are keys of adapter_config.json that must not be null.
//!
//! They run on the processor unless their arguments name a device: what they are about is the same on all.
//! Cases of the engine `browser` are run by tests/browser/cases.test.mjs.

mod command_line;
#[path = "../../../train/src/job.rs"]
mod job;
#[path = "../../../train/src/options.rs"]
mod options;
mod outcome;
#[path = "../../../train/src/question.rs"]
mod question;
mod setting;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::Value;
use tabtune::device::Device;
use tabtune::error::Result;

use options::Options;
use outcome::Outcome;
use setting::Setting;

/// Runs at the same time; more gain nothing where the processor plays the GPU.
const AT_ONCE: usize = 2;

struct Case {
    name: String,
    folder: PathBuf,
    run: Value,
}

/// The cases of the native engine by name.
fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut cases: Vec<Case> = fs::read_dir(root)
        .expect("there are cases")
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| {
            let text = fs::read_to_string(entry.path().join("case.json")).expect("a case has a case.json");
            let mut case: Value = serde_json::from_str(&text).expect("case.json is JSON");
            let name = entry.file_name().to_string_lossy().into_owned();
            Case { name, folder: entry.path(), run: case["run"].take() }
        })
        .filter(|case| case.run["engine"] == "native")
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

/// Runs a case as `./build.sh train --engine native` would.
fn run(case: &Case) -> Outcome {
    let setting = Setting::new(&case.folder, &case.run);
    let mut lines = Vec::new();
    let job = |lines: &mut Vec<String>| -> Result<()> {
        let options = Options::parse(setting.args.iter().cloned(), &setting::bundled())?;
        pollster::block_on(async {
            let device = Device::open_as(options.device).await?;
            job::run(options, device, &mut |line| lines.push(line)).await
        })
    };
    let ended = job(&mut lines);
    Outcome::new(lines, ended, &setting.out)
}

/// Why a case does not hold, if it does not.
fn wrong(case: &Case) -> Option<String> {
    let began = Instant::now();
    let Ok(outcome) = catch_unwind(AssertUnwindSafe(|| run(case))) else {
        return Some("it panicked".to_owned());
    };
    let seconds = began.elapsed().as_secs_f64();
    let most = case.run["seconds"].as_f64().unwrap_or(f64::INFINITY);
    if seconds > most {
        return Some(format!("it took {seconds:.0} s"));
    }
    let wanted = case.run["expect"]["any_of"].as_array().expect("a case says what is right");
    let reasons: Vec<Option<String>> = wanted.iter().map(|wanted| outcome.differs(wanted)).collect();
    if reasons.contains(&None) { None } else { reasons.into_iter().flatten().next() }
}

#[test]
fn every_case_comes_out_right() {
    let cases = cases();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some(reason) = wrong(case) {
                failed.lock().expect("no thread panics").push(format!("{}: {reason}", case.name));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    let mut failed = failed.into_inner().expect("no thread panics");
    failed.sort();
    assert!(cases.len() > 70, "{} cases were found", cases.len());
    assert!(failed.is_empty(), "{} of {} cases:\n{}", failed.len(), cases.len(), failed.join("\n"));
}
