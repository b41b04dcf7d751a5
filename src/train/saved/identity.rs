//! What a run was made from: only a run that is made from the same goes on with its checkpoint.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{VERSION, first_version};
use crate::adapter::LoraConfig;
use crate::bail;
use crate::error::{Code, Error, Result};
use crate::train::options::{QuantizationOptions, TrainOptions};

/// What runs did before an option existed, where that is not what its default says now: part, option, the value
/// as JSON. Whoever adds an option that is on by default, or changes the default of one that came after form 1,
/// notes here what runs did without it.
const BEFORE_IT_EXISTED: &[(&str, &str, &str)] = &[];

/// Options that earlier builds had: part, option, and the value, as JSON, with which they did what this one does.
const GONE: &[(&str, &str, &str)] = &[];

/// What a run was made from. A checkpoint is taken up by a run that was made from the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// The form of its fingerprints, as [`VERSION`] tells of it.
    #[serde(default = "first_version")]
    pub version: u32,
    /// Of config and weights.
    pub model: String,
    /// The same as form 1 had it. It is known of a loaded model and not saved.
    #[serde(skip)]
    pub model_as_read: String,
    /// Of the rows and of what made them tokens.
    pub dataset: String,
    pub eval_dataset: Option<String>,
    /// Of the adapter that it began from, empty without one. `None` in runs that did not note it.
    pub init_adapter: Option<String>,
    /// The options by part, e.g. `{"train": {"seed": 42}}`, defaults included.
    pub options: Map<String, Value>,
}

impl Identity {
    /// Fails with code `bad-option` or `bad-state`, saying what differs, unless `self`, which was saved, is
    /// `now`.
    pub fn expect(&self, now: &Identity) -> Result<()> {
        // A checkpoint has the adapter in it, whatever it began from.
        let now = Identity { init_adapter: self.init_adapter.clone(), ..now.clone() };
        match self.difference(&now) {
            None => Ok(()),
            Some((Code::BadOption, difference)) => bail!(
                BadOption,
                "{difference} in the run that is to be resumed; to train on with other options, save its adapter \
                 and begin a run with that as init_adapter"
            ),
            Some((code, difference)) => {
                Err(Error::new(code, format!("the checkpoint is of a run {difference}")))
            }
        }
    }

    /// In what `self`, which was saved, is not `now`: code `bad-option` where an option differs, `bad-state`
    /// where it is model or rows.
    pub fn difference(&self, now: &Identity) -> Option<(Code, String)> {
        let model = if self.version == 1 { &now.model_as_read } else { &now.model };
        if self.model != *model {
            return Some((Code::BadState, "on another model".to_owned()));
        }
        if self.dataset != now.dataset {
            return Some((Code::BadState, "on another dataset".to_owned()));
        }
        if self.eval_dataset != now.eval_dataset {
            return Some((Code::BadState, "with other held-out rows".to_owned()));
        }
        if self.init_adapter.is_some() && self.init_adapter != now.init_adapter {
            return Some((Code::BadState, "that began from another adapter".to_owned()));
        }
        let difference =
            Options { before: BEFORE_IT_EXISTED, gone: GONE }.difference(&self.options, &now.options);
        difference.map(|difference| (Code::BadOption, difference))
    }

    /// The options of a run that says nothing, by part.
    fn of_defaults() -> Map<String, Value> {
        let plain = |options: serde_json::Result<Value>| options.expect("options are plain data");
        Map::from_iter([
            ("train".to_owned(), TrainOptions::default().identity().into()),
            ("lora".to_owned(), plain(serde_json::to_value(LoraConfig::default()))),
            ("quantization".to_owned(), plain(serde_json::to_value(QuantizationOptions::default()))),
        ])
    }
}

impl Default for Identity {
    fn default() -> Self {
        Identity {
            version: VERSION,
            model: String::new(),
            model_as_read: String::new(),
            dataset: String::new(),
            eval_dataset: None,
            init_adapter: None,
            options: Map::new(),
        }
    }
}

/// How options of other builds are understood.
struct Options {
    before: &'static [(&'static str, &'static str, &'static str)],
    gone: &'static [(&'static str, &'static str, &'static str)],
}

impl Options {
    /// The first option that means something else in a saved run than `now`. One that the run does not know had
    /// what runs did at its time.
    fn difference(&self, saved: &Map<String, Value>, now: &Map<String, Value>) -> Option<String> {
        let defaults = Identity::of_defaults();
        let of = |options: &Map<String, Value>, part: &str, option: &str| {
            options.get(part).and_then(|options| options.get(option)).cloned()
        };
        for (part, option, value) in each(now) {
            let known = of(saved, part, option).or_else(|| noted(self.before, part, option));
            let was = known.or_else(|| of(&defaults, part, option)).unwrap_or_default();
            if !mean_the_same(&was, value) {
                return Some(format!("{part}.{option} is {value}, but was {was}"));
            }
        }
        each(saved).find_map(|(part, option, was)| {
            let is_known = of(now, part, option).is_some() || of(&defaults, part, option).is_some();
            let is_done = || noted(self.gone, part, option).is_some_and(|done| mean_the_same(&done, was));
            let unknown =
                || format!("{part}.{option} is none that this version of tabtune has, but was {was}");
            (!is_known && !is_done()).then(unknown)
        })
    }
}

fn each(options: &Map<String, Value>) -> impl Iterator<Item = (&str, &str, &Value)> {
    options.iter().flat_map(|(part, options)| {
        let options = options.as_object().into_iter().flatten();
        options.map(move |(option, value)| (part.as_str(), option.as_str(), value))
    })
}

fn noted(table: &[(&str, &str, &str)], part: &str, option: &str) -> Option<Value> {
    let entry = table.iter().find(|entry| (entry.0, entry.1) == (part, option));
    entry.map(|(_, _, json)| serde_json::from_str(json).expect("the table holds JSON"))
}

/// Whether two values are the same to those who read them: 1 and 1.0 are.
fn mean_the_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        // Large whole numbers, such as seeds, are more than an f64 tells apart.
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => {
            one.as_f64() == other.as_f64()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| mean_the_same(one, other))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options(train: Value) -> Map<String, Value> {
        Map::from_iter([("train".to_owned(), train)])
    }

    /// An option "new" that does what runs did before where it is 0.5, though it is 1 by default by now, and an
    /// option "old" whose `null` is all that is still done.
    const PLAYED: Options = Options {
        before: &[("train", "new", "0.5")],
        gone: &[("train", "old", "null"), ("train", "older", "8")],
    };

    #[test]
    fn numbers_are_the_same_by_what_they_mean() {
        assert!(mean_the_same(&json!(1), &json!(1.0)));
        assert!(!mean_the_same(&json!(1u64 << 53), &json!((1u64 << 53) + 1)), "an f64 holds both as one");
    }

    #[test]
    fn a_run_from_before_an_option_did_what_runs_did_then() {
        let saved = options(json!({"seed": 42}));
        let now = |new: f64| options(json!({"seed": 42.0, "new": new}));
        assert_eq!(PLAYED.difference(&saved, &now(0.5)), None);
        assert_eq!(PLAYED.difference(&saved, &now(1.0)).unwrap(), "train.new is 1.0, but was 0.5");
        let named = options(json!({"seed": 42, "new": 1}));
        assert_eq!(PLAYED.difference(&named, &now(1.0)), None, "what was saved counts more");
        // What nobody noted has its default.
        let none = Options { before: &[], gone: &[] };
        assert_eq!(none.difference(&saved, &options(json!({"seed": 42, "packing": false}))), None);
        assert!(none.difference(&saved, &options(json!({"seed": 42, "packing": true}))).is_some());
    }

    #[test]
    fn an_option_that_is_gone_may_have_been_off_alone() {
        let now = options(json!({"seed": 42}));
        let with = |old: Value, older: Value| options(json!({"seed": 42, "old": old, "older": older}));
        assert_eq!(PLAYED.difference(&with(Value::Null, json!(8.0)), &now), None);
        let difference = PLAYED.difference(&with(Value::Null, json!(4)), &now).unwrap();
        assert_eq!(difference, "train.older is none that this version of tabtune has, but was 4");
        assert!(PLAYED.difference(&options(json!({"unheard": true})), &options(json!({}))).is_some());
    }

    #[test]
    fn models_are_told_apart_as_the_saved_run_did() {
        let now = Identity { model: "sum".into(), model_as_read: "read".into(), ..Identity::default() };
        let saved = |version, model: &str| Identity { version, model: model.into(), ..Identity::default() };
        assert_eq!(saved(1, "read").difference(&now), None);
        assert_eq!(saved(2, "sum").difference(&now), None);
        for (version, model) in [(1, "sum"), (2, "read"), (1, "other"), (2, "other")] {
            assert!(saved(version, model).difference(&now).is_some(), "{version} {model}");
        }
    }
}
