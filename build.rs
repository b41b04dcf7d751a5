//! Renders every file of `shaders/` into plain WGSL and writes one table of them.
//!
//! Kernels keep their blocks of results in named registers, because an indexed private array that
//! a driver fails to unroll goes to memory (four times slower on lavapipe). WGSL and WESL have no
//! loops over names, so the shaders are minijinja templates, rendered here and never at run time.
//!
//! A shader says its variants in lines such as `//! variant weight: nf4 f32 f16`; each combination
//! becomes a text of its own under the name `linear_forward.nf4`, with `weight` set while it is rendered.
//! A line `//! without half64 half128: f32 bf16` leaves out the combinations of any before the colon with any after it,
//! and `//! native: cooperative8` those with any of these when it is built for browsers.
//!
//! A struct that a kernel's host file shares with its shaders is declared there alone: `host_struct("adamw::Hyper")`
//! in a template is the `#[repr(C)]` struct of that name in `src/kernels/adamw.rs`, and `params("adamw::Params")`
//! is one with its binding. No struct is declared twice.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=shaders");
    println!("cargo::rerun-if-changed=src/kernels");
    println!("cargo::rerun-if-changed=build.rs");

    let sources = files(Path::new("shaders"), "wgsl");
    let mut templates = minijinja::Environment::new();
    templates.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    let syntax = minijinja::syntax::SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    templates.set_syntax(syntax.expect("the default delimiters are valid"));
    add_host_structs(&mut templates);

    let for_browsers = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32");
    let mut rendered = BTreeMap::new();
    for (file, source) in &sources {
        templates.add_template(file, source).unwrap_or_else(|error| panic!("{file}: {error:#}"));
    }
    for (file, source) in sources.iter().filter(|(file, _)| !file.starts_with("shared/")) {
        let name = file.trim_end_matches(".wgsl").to_owned();
        let left_out = values_of(source, "without");
        let native = values_of(source, "native").remove("").unwrap_or_default();
        let is_wanted = |variant: &BTreeMap<String, String>| {
            let has = |wanted: &str| variant.values().any(|value| value == wanted);
            let has_any = |wanted: &[String]| wanted.iter().any(|one| has(one));
            let is_left_out =
                left_out.iter().any(|(these, others)| these.split_whitespace().any(has) && has_any(others));
            let is_not_for_it = for_browsers && has_any(&native);
            !(is_left_out || is_not_for_it)
        };
        for variant in combinations(&values_of(source, "variant")).into_iter().filter(is_wanted) {
            let text = templates
                .get_template(file)
                .and_then(|template| template.render(&variant))
                .unwrap_or_else(|error| panic!("{file}: {error:#}"));
            let full_name = variant.values().fold(name.clone(), |name, value| format!("{name}.{value}"));
            rendered.insert(full_name, without_comments(&text));
        }
    }
    let table = shader_table(&rendered);
    let path = Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("shaders.rs");
    fs::write(path, table).expect("OUT_DIR is writable");
}

/// The Rust that `src/kernels/shaders` includes: the distinct lines of all texts in order of their first use, and each shader
/// as runs of these. Sorted by name, because names are looked up by binary search.
fn shader_table(rendered: &BTreeMap<String, String>) -> String {
    let (mut places, mut lines) = (BTreeMap::new(), Vec::new());
    let mut shaders = String::new();
    for (name, text) in rendered {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for line in text.lines() {
            let place = *places.entry(line).or_insert_with(|| {
                lines.push(line);
                lines.len() - 1
            });
            match runs.last_mut() {
                Some((first, count)) if *first + *count == place => *count += 1,
                _ => runs.push((place, 1)),
            }
        }
        writeln!(shaders, "    ({name:?}, &{runs:?}),").expect("a String takes all");
    }
    let text = lines.join("\n");
    format!("static TEXT: &str = {text:?};\nstatic SHADERS: &[Shader] = &[\n{shaders}];\n")
}

/// The text of each file in `folder` and below that ends in `.extension`, by its path within `folder`.
fn files(folder: &Path, extension: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder of sources can be listed") {
        let path = entry.expect("a folder of sources can be listed").path();
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        if path.is_dir() {
            let inner = files(&path, extension).into_iter();
            found.extend(inner.map(|(inner, text)| (format!("{name}/{inner}"), text)));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.insert(name, fs::read_to_string(&path).expect("a listed source can be read"));
        }
    }
    found
}

/// Gives templates `host_struct` and `params`.
fn add_host_structs(templates: &mut minijinja::Environment) {
    let mut structs = BTreeMap::new();
    for (file, source) in files(Path::new("src/kernels"), "rs") {
        let module = file.split(['/', '.']).next().expect("a split has a part");
        for item in source.split("#[repr(C)]\n").skip(1) {
            let (name, text) = wgsl_struct(item).unwrap_or_else(|line| panic!("src/kernels/{file}: {line}"));
            structs.insert(format!("{module}::{name}"), (name, text));
        }
    }
    let find = move |path: &str| {
        let missing = || format!("src/kernels has no struct {path} that is #[repr(C)]");
        let found = structs.get(path).cloned();
        found.ok_or_else(|| minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, missing()))
    };
    let also_find = find.clone();
    templates.add_function("host_struct", move |path: &str| find(path).map(|(_, text)| text));
    templates.add_function("params", move |path: &str| {
        let (name, text) = also_find(path)?;
        Ok::<_, minijinja::Error>(format!("{text}\n@group(0) @binding(0) var<uniform> params: {name};\n"))
    });
}

/// Name and WGSL of the Rust struct that `item` begins with, or what is wrong with it. rustfmt gives each field a
/// line of its own, so that lines are all there is to read.
fn wgsl_struct(item: &str) -> Result<(String, String), String> {
    let declared = item.split_once("pub struct ").and_then(|(_, rest)| rest.split_once(" {\n"));
    let (name, fields) = declared.ok_or("#[repr(C)] is for structs with fields")?;
    let mut text = format!("struct {name} {{\n");
    let (mut offset, mut widest) = (0, 1);
    for line in fields.lines().map(str::trim).take_while(|&line| line != "}") {
        if line.starts_with("///") {
            continue;
        }
        let field = line.strip_prefix("pub ").and_then(|line| line.strip_suffix(',')?.split_once(": "));
        let (ty, words) = field.and_then(|(_, ty)| wgsl_type(ty)).ok_or(format!("WGSL has no `{line}`"))?;
        if offset % words != 0 {
            return Err(format!("`{line}` of {name} must begin at a multiple of {} bytes", 4 * words));
        }
        offset += words;
        widest = widest.max(words);
        writeln!(text, "    {}: {ty},", field.expect("it has a type").0).expect("a String takes all");
    }
    if offset % widest != 0 {
        return Err(format!("{name} must be a multiple of {} bytes, as WGSL makes it", 4 * widest));
    }
    text.push_str("}\n");
    Ok((name.to_owned(), text))
}

/// The WGSL of a Rust type with the words of four bytes that it takes, at a multiple of which it has to begin.
fn wgsl_type(ty: &str) -> Option<(String, usize)> {
    let is_scalar = |ty: &str| matches!(ty, "u32" | "i32" | "f32");
    if is_scalar(ty) {
        return Some((ty.to_owned(), 1));
    }
    let (scalar, count) = ty.strip_prefix('[')?.strip_suffix(']')?.split_once("; ")?;
    let words = count.parse().ok().filter(|words| [2, 4].contains(words))?;
    is_scalar(scalar).then(|| (format!("vec{count}<{scalar}>"), words))
}

/// The lines such as `//! variant key: a b c`, in order of their keys.
fn values_of(source: &str, what: &str) -> BTreeMap<String, Vec<String>> {
    source
        .lines()
        .filter_map(|line| line.strip_prefix("//! ")?.strip_prefix(what)?.trim_start().split_once(':'))
        .map(|(key, values)| (key.to_owned(), values.split_whitespace().map(str::to_owned).collect()))
        .collect()
}

fn combinations(variants: &BTreeMap<String, Vec<String>>) -> Vec<BTreeMap<String, String>> {
    variants.iter().fold(vec![BTreeMap::new()], |done, (key, values)| {
        done.iter()
            .flat_map(|so_far| {
                values.iter().map(move |value| {
                    let mut next = so_far.clone();
                    next.insert(key.clone(), value.clone());
                    next
                })
            })
            .collect()
    })
}

/// Comments serve readers of `shaders/`; the shipped text does without them.
fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}
