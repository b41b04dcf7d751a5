//! Renders every file of `shaders/` into plain WGSL and writes one table of them.
//!
//! Kernels keep their blocks of results in named registers, because an indexed private array that
//! a driver fails to unroll goes to memory (four times slower on lavapipe). WGSL and WESL have no
//! loops over names, so the shaders are minijinja templates, rendered here and never at run time.
//!
//! A shader says its variants in lines such as `//! variant weight: nf4 f32 f16`; each combination
//! becomes a text of its own under the name `linear_forward.nf4`, with `weight` set while it is rendered.
//! A line `//! without half64: f32 bf16` leaves out the combinations of the first with any of the others,
//! and `//! native: cooperative8` those with any of these when it is built for browsers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=shaders");
    println!("cargo::rerun-if-changed=build.rs");

    let sources = sources();
    let mut templates = minijinja::Environment::new();
    templates.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    let syntax = minijinja::syntax::SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    templates.set_syntax(syntax.expect("the default delimiters are valid"));

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
            let has = |wanted: &String| variant.values().any(|value| value == wanted);
            let is_left_out = left_out.iter().any(|(one, others)| has(one) && others.iter().any(has));
            let is_not_for_it = for_browsers && native.iter().any(has);
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
    // Sorted by name, because names are looked up by binary search.
    let mut table = String::from("pub static SHADERS: &[(&str, &str)] = &[\n");
    for (name, text) in rendered {
        writeln!(table, "    ({name:?}, {text:?}),").expect("a String takes all");
    }
    table.push_str("];\n");
    let path = Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("shaders.rs");
    fs::write(path, table).expect("OUT_DIR is writable");
}

/// The text of each file in `shaders/` and in the folders of what they share, by its path within `shaders/`.
fn sources() -> BTreeMap<String, String> {
    let mut sources = BTreeMap::new();
    for folder in ["", "shared/", "shared/linear/", "shared/attention/"] {
        for entry in fs::read_dir(Path::new("shaders").join(folder)).expect("shaders/ can be listed") {
            let path = entry.expect("shaders/ can be listed").path();
            if path.extension().is_some_and(|extension| extension == "wgsl") {
                let name = path.file_name().expect("a file has a name").to_string_lossy();
                sources.insert(
                    format!("{folder}{name}"),
                    fs::read_to_string(&path).expect("a listed shader can be read"),
                );
            }
        }
    }
    sources
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
