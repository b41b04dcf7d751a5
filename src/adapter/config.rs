//! The options of LoRA, with PEFT's names and defaults.

use std::borrow::Cow;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::LoraModule;
use crate::bail;
use crate::error::{Code, Error, Result};

const ALL_LINEAR: &str = "all-linear";
const MAX_RANK: usize = 256;

/// PEFT's `LoraConfig`, as far as tabtune does what it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// The rank of the update, 1 to 256.
    pub r: usize,
    pub lora_alpha: f64,
    /// The chance that an input of `lora_A` is zeroed in training, at least 0 and below 1.
    pub lora_dropout: f64,
    pub target_modules: TargetModules,
    /// Scale by `lora_alpha / √r` instead of `lora_alpha / r` (<https://arxiv.org/abs/2312.03732>).
    pub use_rslora: bool,
}

/// Which linear layers are adapted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetModules {
    /// `"all-linear"`: every linear layer but the head.
    AllLinear,
    /// Modules whose path is one of these or ends with a dot and one of these.
    Names(Vec<String>),
}

impl Default for LoraConfig {
    fn default() -> Self {
        LoraConfig {
            r: 8,
            lora_alpha: 8.0,
            lora_dropout: 0.0,
            target_modules: TargetModules::Names(vec!["q_proj".to_owned(), "v_proj".to_owned()]),
            use_rslora: false,
        }
    }
}

impl LoraConfig {
    /// Reads the `lora` part of a configuration and checks it.
    ///
    /// # Errors
    ///
    /// Code `bad-option`, naming the option, when it is unknown, of the wrong type or out of range.
    pub fn from_json(json: &Value) -> Result<Self> {
        let Value::Object(options) = json else {
            bail!(BadOption, "lora must be an object, not {json}");
        };
        for (name, value) in options {
            // One option at a time, because serde_json's errors name no field.
            let alone = Value::Object([(name.clone(), value.clone())].into_iter().collect());
            LoraConfig::deserialize(alone)
                .map_err(|error| Error::new(Code::BadOption, format!("lora.{name}: {error}")))?;
        }
        let config = LoraConfig::deserialize(json)
            .map_err(|error| Error::new(Code::BadOption, format!("lora: {error}")))?;
        config.validate()?;
        Ok(config)
    }

    /// # Errors
    ///
    /// Code `bad-option`, naming the option that is out of range.
    pub fn validate(&self) -> Result<()> {
        let LoraConfig { r, lora_alpha, lora_dropout, .. } = *self;
        if !(1..=MAX_RANK).contains(&r) {
            bail!(BadOption, "lora.r is {r}, not 1 to {MAX_RANK}");
        }
        if !(lora_alpha.is_finite() && lora_alpha > 0.0) {
            bail!(BadOption, "lora.lora_alpha is {lora_alpha}, not a positive number");
        }
        if !(0.0..1.0).contains(&lora_dropout) {
            bail!(BadOption, "lora.lora_dropout is {lora_dropout}, not at least 0 and below 1");
        }
        if self.target_modules == TargetModules::Names(vec![]) {
            bail!(BadOption, "lora.target_modules is empty");
        }
        Ok(())
    }

    /// What `B (A x)` is multiplied with.
    pub fn scale(&self) -> f32 {
        let r = self.r as f64;
        (self.lora_alpha / if self.use_rslora { r.sqrt() } else { r }) as f32
    }

    /// Those of a model's linear layers (the head left out) that `target_modules` names, in the
    /// model's order.
    ///
    /// # Errors
    ///
    /// Code `bad-option` when a name matches no layer.
    pub fn resolve<'a>(&self, linears: &'a [LoraModule]) -> Result<Vec<&'a LoraModule>> {
        let TargetModules::Names(names) = &self.target_modules else {
            return Ok(linears.iter().collect());
        };
        let matches = |path: &str, name: &str| {
            path.strip_suffix(name).is_some_and(|head| head.is_empty() || head.ends_with('.'))
        };
        for name in names {
            if name.is_empty() || !linears.iter().any(|module| matches(&module.path, name)) {
                bail!(BadOption, "lora.target_modules: {name:?} is no linear layer of the decoder");
            }
        }
        let named = |module: &&LoraModule| names.iter().any(|name| matches(&module.path, name));
        Ok(linears.iter().filter(named).collect())
    }
}

impl<'de> Deserialize<'de> for TargetModules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMany<'a> {
            One(Cow<'a, str>),
            Many(Vec<String>),
        }

        let wanted = "a list of module names or \"all-linear\" was expected";
        match OneOrMany::deserialize(deserializer) {
            Ok(OneOrMany::One(text)) if text == ALL_LINEAR => Ok(TargetModules::AllLinear),
            Ok(OneOrMany::One(text)) => Err(D::Error::custom(format!("{text:?} was given, {wanted}"))),
            Ok(OneOrMany::Many(names)) => Ok(TargetModules::Names(names)),
            Err(_) => Err(D::Error::custom(wanted)),
        }
    }
}

impl Serialize for TargetModules {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            TargetModules::AllLinear => serializer.serialize_str(ALL_LINEAR),
            TargetModules::Names(names) => names.serialize(serializer),
        }
    }
}
