//! Which linear layers stay as their files have them while the others are quantised: bitsandbytes'
//! `llm_int8_skip_modules`, as transformers 5 reads it (`should_convert_module` in its `quantizers_utils.py`).

use fancy_regex::Regex;

use crate::error::{Code, Error, Result};

/// Names of modules, ready to be looked for in paths such as `model.layers.0.self_attn.q_proj`.
#[derive(Clone, Debug, Default)]
pub struct SkipModules {
    names: Vec<(String, Regex)>,
}

impl SkipModules {
    /// # Errors
    ///
    /// Code `bad-option` for what is no regular expression, which each of the names is as well.
    pub fn new(names: &[String]) -> Result<Self> {
        let names = names.iter().map(|name| Ok((name.clone(), compile(name)?)));
        Ok(SkipModules { names: names.collect::<Result<_>>()? })
    }

    /// Whether a name is what the path ends with, or matches its beginning up to a dot or its end.
    pub fn has(&self, path: &str) -> bool {
        // What takes a regular expression too many steps does not match.
        self.names
            .iter()
            .any(|(name, regex)| path.ends_with(name.as_str()) || regex.is_match(path).unwrap_or(false))
    }
}

fn compile(name: &str) -> Result<Regex> {
    Regex::new(&format!(r"^(?:{name})(?:(?<=\.)|(?=\.|$))")).map_err(|error| {
        let message = format!(
            "quantization.llm_int8_skip_modules: {name:?} is neither the name of a module nor a regular expression for the \
             beginning of its path: {error}"
        );
        Error::new(Code::BadOption, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What transformers 5.23 says of the same names and paths.
    #[test]
    fn names_are_read_as_transformers_reads_them() {
        let path = "model.layers.1.mlp.gate_proj";
        for (name, is_skipped) in [
            ("gate_proj", true),
            ("proj", true),
            ("mlp.gate_proj", true),
            ("model.layers.1", true),
            ("model.layers.1.", true),
            ("model.layers", true),
            ("model.layers.11", false),
            ("model.layer", false),
            ("layers.1", false),
            ("mlp.gate", false),
            (".*mlp.gate", false),
            (".*mlp", true),
            (r"model\.layers\.(1|3)\.mlp", true),
            ("model.layers.0|model.layers.1", true),
            ("lm_head", false),
        ] {
            let skip = SkipModules::new(&[name.to_owned()]).unwrap();
            assert_eq!(skip.has(path), is_skipped, "{name}");
        }
        assert!(!SkipModules::default().has(path));
        let error = SkipModules::new(&["*.o_proj".to_owned()]).unwrap_err();
        assert_eq!(error.code, Code::BadOption);
        assert!(error.to_string().contains("llm_int8_skip_modules: \"*.o_proj\" is neither"), "{error}");
    }
}
