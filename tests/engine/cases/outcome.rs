//! What came of a run, and whether that is right.

use std::fs;
use std::path::Path;

use regex::RegexBuilder;
use serde_json::Value;
use tabtune::error::Result;

/// What came of a run.
pub struct Outcome {
    failed: bool,
    /// All that was said but for the model's own words, which are none of the product's.
    text: String,
    /// The line on the training rows.
    counts: Option<String>,
    /// The adapter's config, or null.
    adapter: Value,
}

impl Outcome {
    /// The outcome of a run that said `lines`, ended so, and wrote into `out`.
    pub fn new(lines: Vec<String>, ended: Result<()>, out: &Path) -> Self {
        let answer = |line: &&String| line.starts_with("before    Q:") || line.starts_with("after     Q:");
        let mut said: Vec<String> = lines.iter().filter(|line| !answer(line)).cloned().collect();
        let counts = said.iter().find(|line| line.starts_with("train ")).cloned();
        let failed = ended.is_err();
        if let Err(error) = ended {
            said.push(format!("error[{}]: {error}", error.code.as_str()));
        }
        let adapter = fs::read(out.join("adapter_config.json")).unwrap_or_default();
        let adapter = serde_json::from_slice(&adapter).unwrap_or_default();
        Outcome { failed, text: said.join("\n"), counts, adapter }
    }

    /// What is not as wanted, if anything.
    pub fn differs(&self, wanted: &Value) -> Option<String> {
        let last = self.text.lines().last().unwrap_or_default();
        match wanted["exit"].as_u64() {
            Some(0) if self.failed => return Some(format!("it failed: {last}")),
            Some(1) if !self.failed => return Some("it was not refused".to_owned()),
            _ => {}
        }
        let counts = ["rows", "tokens", "labelled", "dropped"].into_iter();
        let count = counts.filter_map(|name| self.miscounts(name, &wanted[name])).next();
        let said = |pattern: &str| {
            let pattern = RegexBuilder::new(pattern).case_insensitive(true).multi_line(true).build();
            pattern.expect("a pattern of a case").is_match(&self.text)
        };
        count
            .or_else(|| {
                wanted["output"]
                    .as_str()
                    .filter(|pattern| !said(pattern))
                    .map(|p| format!("nothing says {p}"))
            })
            .or_else(|| {
                wanted["no_output"].as_str().filter(|pattern| said(pattern)).map(|p| format!("it says {p}"))
            })
            .or_else(|| self.lacks(&wanted["adapter_names"]))
    }

    /// A number on the training rows that is not within the range.
    fn miscounts(&self, name: &str, range: &Value) -> Option<String> {
        let (least, most) = match range {
            Value::Null => return None,
            Value::Array(range) => (range[0].as_u64(), range[1].as_u64()),
            number => (number.as_u64(), number.as_u64()),
        };
        let line = self.counts.as_deref().unwrap_or_default();
        let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let found =
            words.windows(2).find(|pair| pair[1] == name).and_then(|pair| pair[0].parse::<u64>().ok());
        let Some(found) = found else { return Some(format!("no number of {name} in {:?}", self.text)) };
        let within = least.is_none_or(|least| found >= least) && most.is_none_or(|most| found <= most);
        (!within).then(|| format!("{found} {name} in {line:?}"))
    }

    /// A name that the adapter's config does not give.
    fn lacks(&self, names: &Value) -> Option<String> {
        let names = names.as_array()?;
        let name = names.iter().filter_map(Value::as_str).find(|name| self.adapter[name].is_null())?;
        Some(format!("adapter_config.json has no {name}"))
    }
}
