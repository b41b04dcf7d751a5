//! The GPU kit without a GPU: `run.sh` on programs that stand in for the real ones, and the tables that are made
//! of what a run left.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tabtune_bench::report::{self, Report};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tabtune-kit-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it may run");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind lies in the system's folder for that.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A kit whose programs do what `bench` and `kernels` say in bash. `parity` has one test, which passes.
fn kit(name: &str, bench: &str, kernels: &str) -> Folder {
    let kit = Folder::new(name);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/gpu-kit/run.sh");
    kit.write("run.sh", &fs::read_to_string(script).expect("the script is part of the tree"));
    kit.write("glibc", "2.17\n");
    kit.write("kit.json", r#"{"commit":"abc1234","built":"2026-11-28"}"#);
    let real = env!("CARGO_BIN_EXE_tabtune-bench");
    let adapter = r#"{"bench":"adapter","name":"stand-in","is_software":false}"#;
    kit.write(
        "bin/tabtune-bench",
        &format!(
            "#!/usr/bin/env bash\ncase $1 in table) exec {real} \"$@\" ;; adapter) echo '{adapter}' ;; {bench} esac\n"
        ),
    );
    let listed = "[[ $1 != --list ]] || { echo 'a: test'; echo 'b: test'; exit; }";
    kit.write("bin/kernels", &format!("#!/usr/bin/env bash\n{listed}\n{kernels}\n"));
    // Programs of tests are run in their folder.
    kit.write("tests/fixtures/none", "");
    kit.write("bin/parity", "#!/usr/bin/env bash\n[[ $1 == --list ]] || echo 'test whole ... ok'\n");
    kit
}

fn run(kit: &Folder, minutes: &str) -> Child {
    let mut command = Command::new(kit.0.join("run.sh"));
    command.args([minutes, "--shapes", "tiny", "--python", "false", "--out"]).arg(kit.0.join("out"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("bash runs the script")
}

/// The parts with how they ended.
fn ends(report: &Report) -> Vec<(&str, &str)> {
    report
        .parts
        .iter()
        .map(|part| (part.name.as_str(), part.end["status"].as_str().unwrap_or_default()))
        .collect()
}

fn read(kit: &Folder) -> Report {
    Report::read(&kit.0.join("out")).expect("the run left a folder")
}

#[test]
fn a_part_that_hangs_is_ended_and_what_no_time_is_left_for_is_skipped() {
    let kit = kit("hangs", "", "trap '' TERM; while :; do sleep 0.1; done");
    assert!(run(&kit, "0.1").wait().expect("the run ends").success());
    let report = read(&kit);
    let ends = ends(&report);
    assert_eq!(ends[..2], [("adapter", "done"), ("kernels", "cut")]);
    let rest: Vec<&str> = ends.iter().map(|end| end.0).filter(|name| !name.starts_with("kernels")).collect();
    let order =
        ["adapter", "tiles", "parity", "race", "ceilings", "step", "timings", "generate", "dense", "kept"];
    assert_eq!(rest.iter().map(|name| name.trim_end_matches("-tiny")).collect::<Vec<_>>(), order);
    assert!(ends[2..].iter().all(|end| end.1 == "skipped"), "{ends:?}");
    let table = fs::read_to_string(kit.0.join("out/table.md")).expect("a table");
    assert!(table.contains("| ceilings | skipped |"), "{table}");
}

#[test]
fn a_crash_takes_no_other_part_with_it_and_a_run_that_is_ended_leaves_what_it_found() {
    let tile = r#"{"bench":"tile","tile":"shared64","format":"f32","direction":"forward","agrees":true}"#;
    let bench = format!("tiles) echo '{tile}' ;; ceilings) echo started; exec sleep 600 ;;");
    let crash = "[[ $1 == --exact ]] && { echo \"test $2 ... ok\"; exit; }\n\
                 echo 'running 2 tests'; echo 'test a ... ok'; kill -SEGV $$";
    let kit = kit("crashes", &bench, crash);
    let mut run = run(&kit, "5");
    let hanging = kit.0.join("out/07-ceilings.out");
    for _ in 0..600 {
        if fs::read_to_string(&hanging).is_ok_and(|text| text == "started\n") {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = run.id().to_string();
    assert!(Command::new("kill").arg(&pid).status().expect("kill runs").success());
    assert_eq!(run.wait().expect("the run ends").code(), Some(130));

    let report = read(&kit);
    let expected = [
        ("adapter", "done"),
        ("kernels", "failed"),
        ("kernels+b", "done"),
        ("tiles", "done"),
        ("parity", "done"),
        ("race-tiny", "done"),
        ("ceilings", "cut"),
    ];
    assert_eq!(ends(&report), expected);
    let table = fs::read_to_string(kit.0.join("out/table.md")).expect("a table");
    assert!(table.contains("| kernels | 2 | 0 | 0 |") && table.contains("| shared64 | 1 |"), "{table}");
}

#[test]
fn the_tables_and_the_json_hold_what_the_parts_left() {
    let folder = Folder::new("tables");
    let given = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kit-run");
    for entry in fs::read_dir(given).expect("the fixture is part of the tree") {
        let entry = entry.expect("the folder can be listed");
        fs::copy(entry.path(), folder.0.join(entry.file_name())).expect("a copy");
    }
    report::write(&folder.0).expect("the tables are written");
    let table = fs::read_to_string(folder.0.join("table.md")).expect("a table");
    let expected = fs::read_to_string(folder.0.join("expected.md")).expect("the table as it should be");
    assert_eq!(table, expected);
    let json = fs::read_to_string(folder.0.join("results.json")).expect("the figures");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["parts"].as_array().expect("parts").len(), 8);
    assert_eq!(json["parts"][6]["status"], "killed");
    assert_eq!(json["parts"][1]["tests"]["rope::forward"], "FAILED");
}
