//! Which linear layers are adapted: PEFT's `target_modules`.

use std::borrow::Cow;

use fancy_regex::Regex;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use super::LoraModule;
use crate::bail;
use crate::error::{Code, Error, Result};

const ALL_LINEAR: &str = "all-linear";

/// Which linear layers are adapted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetModules {
    /// `"all-linear"`: every linear layer but the head.
    AllLinear,
    /// Modules whose path is one of these or ends with a dot and one of these.
    Names(Vec<String>),
    /// Modules whose whole path this regular expression matches, as Python's `re.fullmatch` does.
    Pattern(String),
}

impl TargetModules {
    /// # Errors
    ///
    /// Code `bad-option` for an empty list and for what is no regular expression.
    pub(super) fn validate(&self, option: &str) -> Result<()> {
        match self {
            TargetModules::Names(names) if names.is_empty() => {
                bail!(BadOption, "lora.{option} is empty")
            }
            TargetModules::Pattern(pattern) => compile(option, pattern).map(drop),
            _ => Ok(()),
        }
    }

    /// Leaves out the names of modules that are in another part of the model than `linears`.
    pub(super) fn only_of(&mut self, linears: &[LoraModule]) {
        if let TargetModules::Names(names) = self {
            names.retain(|name| linears.iter().any(|module| ends_with(&module.path, name)));
        }
    }

    /// Whether a module is meant by its whole path.
    pub(super) fn has_path(&self, path: &str) -> bool {
        matches!(self, TargetModules::Names(names) if names.iter().any(|name| name == path))
    }

    /// Whether the module at `path` is meant, whatever else there is.
    pub(super) fn means(&self, path: &str) -> Result<bool> {
        match self {
            TargetModules::AllLinear => Ok(true),
            TargetModules::Names(names) => Ok(names.iter().any(|name| ends_with(path, name))),
            TargetModules::Pattern(pattern) => {
                Ok(compile("exclude_modules", pattern)?.is_match(path).unwrap_or(false))
            }
        }
    }

    /// Those of a model's linear layers (the head left out) that are meant, in the model's order.
    ///
    /// # Errors
    ///
    /// Code `bad-option` when a name matches no layer, or a regular expression none or something else besides.
    pub(super) fn resolve<'a>(&self, linears: &'a [LoraModule]) -> Result<Vec<&'a LoraModule>> {
        match self {
            TargetModules::AllLinear => Ok(linears.iter().collect()),
            TargetModules::Names(names) => by_names(names, linears),
            TargetModules::Pattern(pattern) => by_pattern(pattern, linears),
        }
    }
}

fn by_names<'a>(names: &[String], linears: &'a [LoraModule]) -> Result<Vec<&'a LoraModule>> {
    for name in names {
        if name.is_empty() || !linears.iter().any(|module| ends_with(&module.path, name)) {
            bail!(
                BadOption,
                "lora.target_modules: {name:?} is no linear layer of the decoder; {}",
                instead(linears)
            );
        }
    }
    let named = |module: &&LoraModule| names.iter().any(|name| ends_with(&module.path, name));
    Ok(linears.iter().filter(named).collect())
}

fn by_pattern<'a>(pattern: &str, linears: &'a [LoraModule]) -> Result<Vec<&'a LoraModule>> {
    let regex = compile("target_modules", pattern)?;
    let is_match = |path: &str| {
        let message = |error| format!("lora.target_modules: {pattern:?} against {path}: {error}");
        regex.is_match(path).map_err(|error| Error::new(Code::BadOption, message(error)))
    };
    let mut found = Vec::new();
    for module in linears {
        if is_match(&module.path)? {
            found.push(module);
        }
    }
    if found.is_empty() {
        let path = linears.first().map_or("", |module| &module.path);
        bail!(
            BadOption,
            "lora.target_modules: the regular expression {pattern:?} matches the whole path of no linear layer, such \
             as {path}; {}",
            instead(linears)
        );
    }
    // PEFT adapts embedding and head too, and refuses what is no layer.
    for path in beside(linears) {
        if is_match(path)? {
            bail!(
                BadOption,
                "lora.target_modules: the regular expression {pattern:?} matches {path} too, which cannot be adapted; \
                 {}",
                instead(linears)
            );
        }
    }
    Ok(found)
}

/// Paths of modules that are no linear layers of the decoder: embedding, head and what holds the layers.
fn beside(linears: &[LoraModule]) -> Vec<&str> {
    let mut paths = vec!["model.embed_tokens", "model.language_model.embed_tokens", "lm_head"];
    for module in linears {
        let dots = module.path.match_indices('.');
        let parents = dots.map(|(end, _)| &module.path[..end]);
        paths.extend(parents);
    }
    paths
}

/// Compiles a regular expression for whole paths.
fn compile(option: &str, pattern: &str) -> Result<Regex> {
    let whole = format!(r"^(?:{pattern})\z");
    Regex::new(&whole).map_err(|error| {
        let message = format!(
            "lora.{option}: {pattern:?} is neither \"{ALL_LINEAR}\" nor a regular expression for the paths of \
             modules: {error}"
        );
        Error::new(Code::BadOption, message)
    })
}

/// What may be written.
fn instead(linears: &[LoraModule]) -> String {
    let there = last_names(linears).join(", ");
    format!("take a list of some of {there}, or \"{ALL_LINEAR}\"")
}

/// Whether `target_modules` means a module by a name.
fn ends_with(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

/// The last parts of the paths of modules, each once, in the model's order: what PEFT targets them by.
pub(super) fn last_names<'a>(modules: impl IntoIterator<Item = &'a LoraModule>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for module in modules {
        let name = module.path.rsplit('.').next().unwrap_or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

impl<'de> Deserialize<'de> for TargetModules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMany<'a> {
            One(Cow<'a, str>),
            Many(Vec<String>),
        }

        match OneOrMany::deserialize(deserializer) {
            Ok(OneOrMany::One(text)) if text.eq_ignore_ascii_case(ALL_LINEAR) => Ok(TargetModules::AllLinear),
            Ok(OneOrMany::One(text)) => Ok(TargetModules::Pattern(text.into_owned())),
            Ok(OneOrMany::Many(names)) => Ok(TargetModules::Names(names)),
            Err(_) => {
                let wanted = "a list of module names, \"all-linear\" or a regular expression was expected";
                Err(D::Error::custom(wanted))
            }
        }
    }
}

impl Serialize for TargetModules {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            TargetModules::AllLinear => serializer.serialize_str(ALL_LINEAR),
            TargetModules::Names(names) => names.serialize(serializer),
            TargetModules::Pattern(pattern) => serializer.serialize_str(pattern),
        }
    }
}
