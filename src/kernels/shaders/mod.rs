//! The shaders' texts, which `build.rs` renders.
//!
//! Variants of a shader share most of their lines, so the build holds each distinct line once: the texts take a sixth of their
//! length of the module, and half of it after gzip.

use std::sync::LazyLock;

/// A shader's name, e.g. `linear_forward.nf4`, and the lines that it is made of: the first one of each run, and how many follow
/// one another.
type Shader = (&'static str, &'static [(u16, u16)]);

include!(concat!(env!("OUT_DIR"), "/shaders.rs"));

static LINES: LazyLock<Vec<&str>> = LazyLock::new(|| TEXT.lines().collect());

/// All shaders and their variants in order of their names, each with its text.
pub fn all() -> impl Iterator<Item = (&'static str, String)> {
    SHADERS.iter().map(|&(name, runs)| (name, joined(runs)))
}

/// Whether there is a shader of this name.
pub fn has(name: &str) -> bool {
    find(name).is_some()
}

/// The plain WGSL text of `name`, e.g. `"linear_forward.nf4"`.
pub fn text(name: &str) -> Option<String> {
    find(name).map(joined)
}

fn joined(runs: &[(u16, u16)]) -> String {
    let lines = runs.iter().flat_map(|&(first, count)| &LINES[first.into()..][..count.into()]);
    lines.copied().collect::<Vec<_>>().join("\n")
}

fn find(name: &str) -> Option<&'static [(u16, u16)]> {
    SHADERS.binary_search_by_key(&name, |(name, _)| name).ok().map(|index| SHADERS[index].1)
}
