//! The options of LoRA, with PEFT's names and defaults.

use std::borrow::Cow;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::LoraModule;
use crate::bail;
use crate::error::Result;
use crate::options::Part;

const ALL_LINEAR: &str = "all-linear";
const MAX_RANK: usize = 256;

/// PEFT's `LoraConfig`, as far as tabtune does what it says.
#[derive(Clone, Debug, PartialEq, Serialize)]
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

/// Options of PEFT's `LoraConfig` that change no number here, whatever they say.
pub(super) const WITHOUT_EFFECT: [&str; 10] = [
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "layers_pattern",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "ensure_weight_tying",
];

/// Options of PEFT's `LoraConfig` (PEFT 0.21) that are off here, for good or for now.
const OFF: [&str; 23] = [
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "corda_config",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "layers_to_transform",
    "loftq_config",
    "lora_bias",
    "lora_ga_config",
    "megatron_config",
    "modules_to_save",
    "monteclora_config",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "velora_config",
];

impl LoraConfig {
    /// Reads the `lora` part of a configuration and checks it; null is an empty part. PEFT's other options
    /// are accepted where they ask for what is done anyway.
    ///
    /// # Errors
    ///
    /// Code `bad-option`, naming the option, when it is unknown, of the wrong type or out of range.
    pub fn from_json(json: &Value) -> Result<Self> {
        LoraConfig::default().with(json)
    }

    /// This config with what the `lora` part of a configuration says; what it does not say stays.
    ///
    /// # Errors
    ///
    /// As [`LoraConfig::from_json`].
    pub fn with(self, json: &Value) -> Result<Self> {
        let mut part = Part::new("lora", json)?;
        let targets: Option<TargetModules> = part.take("target_modules", None)?;
        let config = LoraConfig {
            r: part.take("r", self.r)?,
            lora_alpha: part.take("lora_alpha", self.lora_alpha)?,
            lora_dropout: part.take("lora_dropout", self.lora_dropout)?,
            target_modules: targets.unwrap_or(self.target_modules),
            use_rslora: part.take("use_rslora", self.use_rslora)?,
        };
        part.only("peft_type", &["LORA".into()])?;
        part.only("task_type", &["CAUSAL_LM".into(), Value::Null])?;
        part.only("bias", &["none".into()])?;
        part.only("init_lora_weights", &[true.into()])?;
        for option in OFF {
            part.only(option, &[false.into(), Value::Null])?;
        }
        part.ignore(&WITHOUT_EFFECT);
        part.finish()?;
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

    /// Leaves out the names of modules that are in another part of the model than `linears`.
    pub(super) fn only_of(&mut self, linears: &[LoraModule]) {
        if let TargetModules::Names(names) = &mut self.target_modules {
            names.retain(|name| linears.iter().any(|module| matches(&module.path, name)));
        }
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
        for name in names {
            if name.is_empty() || !linears.iter().any(|module| matches(&module.path, name)) {
                let there = last_names(linears).join(", ");
                bail!(
                    BadOption,
                    "lora.target_modules: {name:?} is no linear layer of the decoder; take some of {there}, or \
                     \"{ALL_LINEAR}\""
                );
            }
        }
        let named = |module: &&LoraModule| names.iter().any(|name| matches(&module.path, name));
        Ok(linears.iter().filter(named).collect())
    }
}

/// Whether `target_modules` means a module by a name.
fn matches(path: &str, name: &str) -> bool {
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
