//! PEFT's options that tell modules apart: what is left out, which layers are taken, whose rank or alpha is another one
//! (`check_target_module_exists` in `peft/tuners/tuners_utils.py`, `get_pattern_key` in `peft/utils/other.py`).

use fancy_regex::Regex;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::bail;
use crate::error::{Code, Error, Result};

/// Numbers by patterns, in their order: `rank_pattern` and `alpha_pattern`. The first pattern that a module's path ends
/// with says its number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patterns(pub Vec<(String, f64)>);

impl Patterns {
    /// # Errors
    ///
    /// Code `bad-option`, naming `option`, for a key that is no regular expression.
    pub fn validate(&self, option: &str) -> Result<()> {
        self.0.iter().try_for_each(|(key, _)| compile(option, key, &end_of_path(key)).map(drop))
    }

    /// The number of the module at `path`; `None` where no pattern has it.
    pub fn of(&self, path: &str) -> Option<f64> {
        let has = |key: &str| match is_plain(key) {
            true => ends_plainly(path, key),
            false => Regex::new(&end_of_path(key)).is_ok_and(|regex| is_match(&regex, path)),
        };
        self.0.iter().find(|(key, _)| has(key)).map(|&(_, number)| number)
    }
}

/// Whether a key is of names and dots alone. A config may have one for each module, and regular expressions take long to
/// compile.
fn is_plain(key: &str) -> bool {
    key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
}

/// [`end_of_path`] of a plain key: its dots stand for any character.
fn ends_plainly(path: &str, key: &str) -> bool {
    let Some(start) = path.len().checked_sub(key.len()) else { return false };
    let (before, end) = path.as_bytes().split_at(start);
    path.is_ascii()
        && before.last().is_none_or(|&byte| byte == b'.')
        && end.iter().zip(key.bytes()).all(|(&one, other)| other == b'.' || one == other)
}

/// What `re.match` finds of a key at the end of a path, from a dot or from its start on.
fn end_of_path(key: &str) -> String {
    format!(r"^(?:.*\.)?(?:{key})\z")
}

impl Serialize for Patterns {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        // PEFT declares ranks integers, and writes alphas as they were given.
        let number = |number: f64| match number {
            whole if whole.fract() == 0.0 && whole.abs() < f64::from(u32::MAX) => Value::from(whole as i64),
            number => Value::from(number),
        };
        let entries: Map<String, Value> = self.0.iter().map(|(key, of)| (key.clone(), number(*of))).collect();
        entries.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let entries = Option::<Map<String, Value>>::deserialize(deserializer)?.unwrap_or_default();
        let number = |(key, value): (String, Value)| match value.as_f64() {
            Some(number) => Ok((key, number)),
            None => Err(serde::de::Error::custom(format!("{key:?} has {value}, and a number was expected"))),
        };
        entries.into_iter().map(number).collect::<std::result::Result<_, D::Error>>().map(Patterns)
    }
}

/// One or several of something: PEFT takes both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    pub fn all(&self) -> &[T] {
        match self {
            OneOrMany::One(one) => std::slice::from_ref(one),
            OneOrMany::Many(many) => many,
        }
    }
}

/// Which layers are adapted: `layers_to_transform`, by what `layers_pattern` calls them.
pub struct Layers<'a> {
    numbers: &'a [usize],
    patterns: Vec<Regex>,
}

impl<'a> Layers<'a> {
    /// # Errors
    ///
    /// Code `bad-option` for a pattern that is no regular expression.
    pub fn new(numbers: &'a [usize], patterns: &[String]) -> Result<Self> {
        const OPTION: &str = "layers_pattern";
        // Numbers of layers have no digits but these, and a class of all that Unicode has takes many times the memory.
        let patterns = match patterns {
            [] if numbers.is_empty() => Vec::new(),
            // The first number with two parts before it.
            [] => vec![compile(OPTION, "", r"^.*?\.[^.]*\.([0-9]+)\.")?],
            patterns => patterns
                .iter()
                .map(|pattern| {
                    compile(OPTION, pattern, &format!(r"^(?:|.*?\.)(?:{pattern})\.(?<number>[0-9]+)\."))
                })
                .collect::<Result<_>>()?,
        };
        Ok(Layers { numbers, patterns })
    }

    /// Whether the module at `path` is in one of them. Without numbers every module is.
    pub fn has(&self, path: &str) -> bool {
        if self.numbers.is_empty() {
            return true;
        }
        let found = self.patterns.iter().find_map(|pattern| pattern.captures(path).ok().flatten());
        let number = found.and_then(|found| {
            let text = found.name("number").or_else(|| found.get(1))?;
            text.as_str().parse::<usize>().ok()
        });
        number.is_some_and(|number| self.numbers.contains(&number))
    }
}

/// Compiles what `option` made of `text`.
fn compile(option: &str, text: &str, regex: &str) -> Result<Regex> {
    Regex::new(regex).map_err(|error| {
        Error::new(Code::BadOption, format!("lora.{option}: {text:?} is no regular expression: {error}"))
    })
}

fn is_match(regex: &Regex, path: &str) -> bool {
    regex.is_match(path).unwrap_or(false)
}

/// Makes sure that a number of `option` is a rank.
pub fn expect_rank(option: &str, key: &str, rank: f64, most: usize) -> Result<()> {
    if rank.fract() != 0.0 || !(1.0..=most as f64).contains(&rank) {
        bail!(BadOption, "lora.{option}: {key:?} has {rank}, not 1 to {most}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const UP: &str = "model.layers.1.mlp.up_proj";

    fn patterns(value: Value) -> Patterns {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_first_pattern_that_a_path_ends_with_counts() {
        let found = |value: Value| patterns(value).of(UP);
        assert_eq!(found(json!({"up_proj": 4, "layers.1.mlp.up_proj": 5})), Some(4.0));
        assert_eq!(found(json!({"layers.1.mlp.*": 5, "up_proj": 4})), Some(5.0));
        assert_eq!(found(json!({"^model.layers.1.mlp.up_proj": 6})), Some(6.0));
        assert_eq!(found(json!({"[gu][pa].*_proj": 7})), Some(7.0));
        assert_eq!(
            found(json!({"layers.1.mlp_up_proj": 3, "layers.1_mlp.up_proj": 4, "l.1.mlp.up_proj": 5})),
            None
        );
        assert_eq!(found(json!({"layers.1...p.up_proj": 6})), Some(6.0));
        assert_eq!(found(json!({"s.1.mlp.up_proj": 7, "layers.1.mlp.up_proj": 8})), Some(8.0));
        for other in ["p_proj", "mlp", "layers.0.*", "up_pro", "down_proj|q"] {
            assert_eq!(found(json!({other: 8})), None, "{other}");
        }
        let text = serde_json::to_string(&patterns(json!({"b": 2, "a": 1.5}))).unwrap();
        assert_eq!(text, r#"{"b":2,"a":1.5}"#);
    }

    #[test]
    fn layers_are_found_by_number() {
        let has = |numbers: &[usize], patterns: &[&str], path: &str| {
            let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
            Layers::new(numbers, &patterns).unwrap().has(path)
        };
        assert!(has(&[1, 3], &[], UP) && !has(&[0, 11], &[], UP) && has(&[], &[], UP));
        assert!(has(&[1], &["layers"], UP) && has(&[1], &["h", "layers"], UP) && !has(&[1], &["h"], UP));
        // No number with two parts before it.
        assert!(!has(&[1], &[], "layers.1.up_proj") && has(&[1], &["layers"], "layers.1.up_proj"));
        assert!(Layers::new(&[1], &["(".to_owned()]).is_err());
    }
}
