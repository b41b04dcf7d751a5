//! The tree's own rules: the four parts of a kernel, the direction of dependencies, and texts that
//! tell nothing of the machine they were written on.

use std::fs;
use std::path::{Path, PathBuf};

/// What each module may use besides `error`, `files` and `options`: api → session → train, generate → model,
/// adapter, data → kernels → device → gpu → memory, and `format` beside them, whose formats kernels know. `format`, `data`
/// and `reference` know no device; `reference` takes its parameters from `kernels`.
const MAY_USE: &[(&str, &[&str])] = &[
    (
        "api",
        &[
            "export", "session", "tune", "train", "generate", "model", "adapter", "data", "format",
            "kernels", "cpu", "device", "gpu",
        ],
    ),
    (
        "session",
        &[
            "export", "tune", "train", "generate", "model", "adapter", "data", "format", "kernels", "device",
            "gpu", "memory",
        ],
    ),
    ("export", &["model", "adapter", "data", "format"]),
    ("tune", &["model", "format", "kernels", "device", "gpu", "memory", "reference"]),
    ("train", &["model", "adapter", "data", "format", "kernels", "device", "memory"]),
    ("generate", &["model", "adapter", "data", "format", "kernels", "device", "memory"]),
    ("model", &["adapter", "format", "kernels", "device", "memory"]),
    ("adapter", &["format", "kernels"]),
    ("data", &["format"]),
    ("format", &[]),
    ("reference", &["kernels", "format"]),
    ("kernels", &["cpu", "device", "format", "gpu", "memory"]),
    ("device", &["cpu", "gpu", "memory"]),
    ("cpu", &["memory"]),
    ("gpu", &["memory"]),
    ("memory", &[]),
    ("files", &[]),
    ("options", &[]),
    ("error", &[]),
];

/// The device looks up the text of a shader by its name.
const EXCEPTIONS: &[(&str, &str)] = &[("src/gpu/device.rs", "kernels")];

/// Crates and types of the browser, and the places that may name them.
const BROWSER_NAMES: &[&str] = &[
    "JsCast",
    "JsValue",
    "idb",
    "js_sys",
    "serde_wasm_bindgen",
    "wasm_bindgen",
    "wasm_bindgen_futures",
    "web_sys",
];
const BROWSER_PLACES: &[&str] =
    &["src/api/", "src/data/idb_kv.rs", "src/files/outside.rs", "src/cpu/browser.rs", "src/gpu/"];

/// A file by its path from the root, with `/` between its parts.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().expect("a split has a part");
        name.split('.').next().expect("a split has a part")
    }

    /// The lines without their comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines.map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
    }

    /// The top module in `src/` that the file belongs to.
    fn module(&self) -> &str {
        let path = self.path.strip_prefix("src/").expect("modules lie in src/");
        path.split(['/', '.']).next().expect("a split has a part")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text files in `folder` and below, but for what is built or installed. In order of path.
fn files(folder: &str) -> Vec<Source> {
    const BUILT: &[&str] = &["node_modules", "build", "dist", "wasm", "__pycache__"];
    const BINARY: &[&str] = &["gguf", "safetensors", "parquet", "png", "pyc"];
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(root().join(&folder));
        for entry in entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let entry = entry.expect("a folder can be listed");
            let name = entry.file_name().into_string().expect("names are UTF-8");
            let path = folder.join(&name);
            let extension = name.rsplit('.').next().unwrap_or_default();
            if entry.path().is_dir() {
                if !BUILT.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if !BINARY.contains(&extension) {
                let path = path.to_str().expect("names are UTF-8").replace('\\', "/");
                // Some cases are files in other encodings than UTF-8.
                let bytes = fs::read(entry.path()).unwrap_or_else(|error| panic!("{path}: {error}"));
                let text = String::from_utf8_lossy(&bytes).into_owned();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "{folder} has no files");
    found
}

/// The files right in `folder` that end in `.extension`, but for `mod.rs` and `main.rs`.
fn named_files(folder: &str, extension: &str) -> Vec<Source> {
    let files = files(folder).into_iter().filter(|file| {
        let name =
            file.path.strip_prefix(folder).and_then(|name| name.strip_prefix('/')).expect("it is in there");
        let plain = !matches!(name, "mod.rs" | "main.rs") && !name.contains('/');
        plain && name.rsplit('.').next() == Some(extension)
    });
    files.collect()
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
}

/// The identifiers that directly follow `prefix` where `prefix` does not continue another one.
fn following<'a>(line: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(prefix).filter_map(move |(index, _)| {
        let before = line[..index].chars().next_back();
        let continues = before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
        (!continues).then(|| words(&line[index + prefix.len()..]).next().unwrap_or_default())
    })
}

#[track_caller]
fn assert_none(broken: Vec<String>) {
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The file in `src/kernels/` that a shader belongs to: the one whose name its own begins with.
fn family<'a>(kernels: &'a [Source], shader: &str) -> Option<&'a Source> {
    let begins = |family: &str| {
        shader.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    kernels.iter().filter(|kernel| begins(kernel.stem())).max_by_key(|kernel| kernel.stem().len())
}

#[test]
fn every_shader_has_its_host_file() {
    let kernels = named_files("src/kernels", "rs");
    let shaders = named_files("shaders", "wgsl");
    let mut broken = Vec::new();
    for shader in &shaders {
        let name = shader.stem();
        let Some(kernel) = family(&kernels, name) else {
            broken.push(format!("{} has no host file in src/kernels", shader.path));
            continue;
        };
        let whole = format!("\"{name}\"");
        let with_variant = format!("\"{name}.");
        if !kernel.code().any(|(_, line)| line.contains(&whole) || line.contains(&with_variant)) {
            broken.push(format!("{} does not name the shader {name}", kernel.path));
        }
    }
    for kernel in &kernels {
        if !shaders
            .iter()
            .any(|shader| family(&kernels, shader.stem()).is_some_and(|own| own.path == kernel.path))
        {
            broken.push(format!("{} has no shader", kernel.path));
        }
    }
    for shared in files("shaders/shared") {
        // Formats of weights are found by their names.
        let is_format = shared.path.starts_with("shaders/shared/weight/");
        let include = format!("\"{}\"", shared.path.strip_prefix("shaders/").expect("it is in there"));
        if !is_format && !files("shaders").iter().any(|shader| shader.text.contains(&include)) {
            broken.push(format!("{} is included by no shader", shared.path));
        }
    }
    assert_none(broken);
}

#[test]
fn every_format_of_weights_is_a_file_on_both_sides() {
    let names = |folder: &str| {
        let stems = files(folder).into_iter().map(|file| file.stem().to_owned());
        stems.collect::<std::collections::BTreeSet<_>>()
    };
    let host = files("src/format/weight").into_iter().map(|file| file.text).collect::<String>();
    let mut broken = Vec::new();
    for shader in names("shaders/shared/weight") {
        if !host.contains(&format!("name: \"{shader}\",")) {
            broken.push(format!("src/format/weight has no layout of the name {shader}"));
        }
    }
    assert_none(broken);
}

/// build.rs writes them from the host's.
#[test]
fn no_shader_declares_params() {
    let declares = |shader: &&Source| shader.code().any(|(_, line)| line.contains("var<uniform>"));
    let shaders = files("shaders");
    let declaring = shaders.iter().filter(declares);
    assert_none(declaring.map(|shader| format!("{} binds Params without params()", shader.path)).collect());
}

#[test]
fn every_kernel_has_its_twin_and_its_tests() {
    let tests = named_files("tests/kernels", "rs");
    let main = fs::read_to_string(root().join("tests/kernels/main.rs")).expect("tests/kernels has a main.rs");
    let mut broken = Vec::new();
    for test in &tests {
        if !main.lines().any(|line| line == format!("mod {};", test.stem())) {
            broken.push(format!("{} is not run: main.rs does not name it", test.path));
        }
    }
    let called = |path: &str, twin: bool| {
        tests.iter().flat_map(Source::code).any(|(_, line)| {
            line.match_indices(path).any(|(index, _)| line[..index].ends_with("reference::") == twin)
        })
    };
    for kernel in named_files("src/kernels", "rs") {
        let family = kernel.stem();
        let twin = format!("src/reference/{family}.rs");
        if !root().join(&twin).is_file() {
            broken.push(format!("{} has no twin {twin}", kernel.path));
        }
        if !called(&format!("{family}::"), true) {
            broken.push(format!("no test in tests/kernels calls the twin {twin}"));
        }
        let functions: Vec<&str> = kernel
            .text
            .split("\npub fn ")
            .skip(1)
            .filter(|function| {
                function
                    .split_once(')')
                    .is_some_and(|(arguments, _)| arguments.contains("rec: &mut Recorder"))
            })
            .filter_map(|function| words(function).next())
            .collect();
        if functions.is_empty() {
            broken.push(format!("{} records nothing", kernel.path));
        }
        for function in functions {
            if !called(&format!("{family}::{function}("), false) {
                broken.push(format!("no test in tests/kernels calls kernels::{family}::{function}"));
            }
        }
    }
    assert_none(broken);
}

#[test]
fn dependencies_point_one_way() {
    let mut broken = Vec::new();
    for file in files("src").iter().filter(|file| file.path != "src/lib.rs") {
        let module = file.module();
        let Some((_, may_use)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            broken.push(format!("{}: MAY_USE does not know the module {module}", file.path));
            continue;
        };
        // In src/x/mod.rs and src/x.rs `super` is the crate, but in their unit tests it is not.
        let top = file.path == format!("src/{module}/mod.rs") || file.path == format!("src/{module}.rs");
        let modules = |name: &&str| MAY_USE.iter().any(|(module, _)| module == name);
        for (number, line) in file.code() {
            let by_super = following(line, "super::").filter(|_| top).filter(modules);
            for used in following(line, "crate::").chain(by_super) {
                let allowed = used == module
                    || matches!(used, "error" | "bail")
                    || (matches!(used, "files" | "options") && module != "error")
                    || may_use.contains(&used)
                    || EXCEPTIONS.contains(&(file.path.as_str(), used));
                if !allowed {
                    broken.push(format!(
                        "{}:{number}: {module} may not use {used:?}: {}",
                        file.path,
                        line.trim()
                    ));
                }
            }
            if line.contains("super::super::") {
                broken.push(format!("{}:{number}: reach other modules by crate::", file.path));
            }
        }
    }
    assert_none(broken);
}

#[test]
fn every_exception_is_in_use() {
    for (path, used) in EXCEPTIONS {
        let all = files("src");
        let file = all.iter().find(|file| file.path == *path).unwrap_or_else(|| panic!("{path} is gone"));
        let in_use = file.code().any(|(_, line)| following(line, "crate::").any(|name| name == *used));
        assert!(in_use, "{path} no longer uses {used}");
    }
}

#[test]
fn only_gpu_names_wgpu_and_only_the_edges_name_the_browser() {
    let mut broken = Vec::new();
    for file in files("src") {
        let browser = BROWSER_PLACES.iter().any(|place| file.path.starts_with(place));
        for (number, line) in file.code() {
            for word in words(line) {
                if word == "wgpu" && !file.path.starts_with("src/gpu/") {
                    broken.push(format!("{}:{number}: wgpu is for src/gpu", file.path));
                }
                if BROWSER_NAMES.contains(&word) && !browser {
                    broken.push(format!("{}:{number}: {word} is for {BROWSER_PLACES:?}", file.path));
                }
            }
            if line.contains("#[wasm_bindgen") && !file.path.starts_with("src/api/") {
                broken.push(format!("{}:{number}: #[wasm_bindgen] is for src/api", file.path));
            }
        }
    }
    assert_none(broken);
}

/// A device has one stack of error scopes for page and engine, so nothing may be waited for between push and pop.
#[test]
fn error_scopes_are_popped_before_anything_is_waited_for() {
    let users: Vec<Source> =
        files("src").into_iter().filter(|file| file.text.contains("push_error_scope")).collect();
    let paths: Vec<&str> = users.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["src/gpu/device.rs"], "Gpu::allocating is for all that allocates");
    let text = &users[0].text;
    let first = text.find("push_error_scope").expect("it is there");
    let last = text.rfind(".pop()").expect("a scope is popped");
    let between = &text[first..last];
    assert!(!between.contains("await") && !between.contains("\n    }\n"), "{between}");
}

#[test]
fn texts_name_no_machine_no_registry_and_no_unfinished_work() {
    // Written in parts, or this file would break its own rule.
    let folders = ["tmp", "root", "work", "home", "Users"].map(|folder| format!("/{folder}/"));
    let hosts = [["registry.", "npmjs"], ["crates", ".io"], ["py", "pi.org"], ["python", "hosted.org"]]
        .map(|host| host.concat());
    let marks = [["TO", "DO"], ["FIX", "ME"]].map(|mark| mark.concat());

    let mut all: Vec<Source> = ["src", "shaders", "bench", "federated", "www", "examples", "tests", "tools"]
        .iter()
        .flat_map(|folder| files(folder))
        .collect();
    for path in ["Cargo.toml", "build.rs", "build.sh", "package.json", "package-lock.json"] {
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        all.push(Source { path: path.to_owned(), text });
    }
    let mut broken = Vec::new();
    for file in &all {
        for (index, line) in file.text.lines().enumerate() {
            let place = format!("{}:{}", file.path, index + 1);
            for folder in &folders {
                // What continues a relative path or a variable, as in `$root/tmp/`, is no absolute path.
                let absolute = line.match_indices(folder.as_str()).any(|(index, _)| {
                    let before = line[..index].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || "_-.}$)~".contains(c))
                });
                if absolute {
                    broken.push(format!("{place} has a path in {folder}"));
                }
            }
            for host in hosts.iter().filter(|host| line.contains(host.as_str())) {
                broken.push(format!("{place} names {host}"));
            }
            for word in words(line).filter(|word| marks.iter().any(|mark| mark == word)) {
                broken.push(format!("{place} has a {word}"));
            }
        }
    }
    assert_none(broken);
}
