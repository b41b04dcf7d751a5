//! Writes the structs and constants that kernels share with the engine's `src/kernels`, and those of formats, as Rust
//! modules, so that none of them is declared twice.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

const KERNELS: &str = "../src/kernels";
const FORMATS: &str = "../src/format/weight";
/// The constants of formats, each with the file that has it.
const OF_FORMATS: [(&str, &str); 5] = [
    ("NF4_BLOCK", "nf4.rs"),
    ("NF4_CODES", "nf4.rs"),
    ("FP4_CODES", "fp4.rs"),
    ("INT8_STEP", "int8.rs"),
    ("DYNAMIC_MAP_UPPER", "../dynamic_map.rs"),
];

fn main() {
    println!("cargo::rerun-if-changed={KERNELS}");
    println!("cargo::rerun-if-changed={FORMATS}");
    println!("cargo::rerun-if-changed={FORMATS}/../dynamic_map.rs");
    println!("cargo::rerun-if-changed=build.rs");

    let mut modules = BTreeMap::new();
    for path in sources(Path::new(KERNELS)) {
        let within = path.strip_prefix(KERNELS).expect("it lies there").to_string_lossy().replace('\\', "/");
        let module = within.split(['/', '.']).next().expect("a split has a part").to_owned();
        let text = fs::read_to_string(&path).expect("a listed source can be read");
        let items: &mut String = modules.entry(module).or_default();
        structs(&text).chain(constants(&text)).for_each(|item| items.push_str(&item));
    }
    let mut out = String::new();
    for (module, items) in modules.iter().filter(|(_, items)| !items.is_empty()) {
        writeln!(out, "pub mod {module} {{\n{items}}}").expect("a String takes all");
    }
    for (name, file) in OF_FORMATS {
        let text =
            fs::read_to_string(Path::new(FORMATS).join(file)).expect("the format's source can be read");
        let start =
            text.find(&format!("pub const {name}:")).unwrap_or_else(|| panic!("{file} has no {name}"));
        let end = text[start..].find(";\n").expect("a constant ends");
        writeln!(out, "{};", &text[start..start + end]).expect("a String takes all");
    }
    let path = Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("params.rs");
    fs::write(path, out).expect("OUT_DIR is writable");
}

/// The Rust files in `folder` and below, in order of path.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources can be listed") {
        let path = entry.expect("a folder of sources can be listed").path();
        if path.is_dir() {
            found.append(&mut sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The structs that are `#[repr(C)]`. rustfmt gives each field a line of its own, so that lines are all there is to read.
fn structs(text: &str) -> impl Iterator<Item = String> {
    text.split("#[repr(C)]\n").skip(1).map(|item| {
        let (_, item) = item.split_once("pub struct ").expect("#[repr(C)] is for structs");
        let (body, _) = item.split_once("\n}\n").expect("a struct ends");
        let lines: Vec<&str> = body.lines().filter(|line| !line.trim_start().starts_with("///")).collect();
        format!("#[repr(C)]\n#[derive(Clone, Copy, Debug)]\npub struct {}\n}}\n", lines.join("\n"))
    })
}

/// The constants that are a number on one line.
fn constants(text: &str) -> impl Iterator<Item = String> {
    let is_number = |line: &&str| {
        let number = ["u32", "usize"].iter().any(|ty| line.contains(&format!(": {ty} = ")));
        line.starts_with("pub const ") && line.ends_with(';') && number
    };
    text.lines().filter(is_number).map(|line| format!("{line}\n"))
}
