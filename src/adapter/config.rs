//! The options of LoRA, with PEFT's names and defaults.

use serde::Serialize;
use serde_json::Value;

use super::{LoraModule, TargetModules};
use crate::bail;
use crate::error::Result;
use crate::options::Part;

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
        self.target_modules.validate()
    }

    /// What `B (A x)` is multiplied with.
    pub fn scale(&self) -> f32 {
        let r = self.r as f64;
        (self.lora_alpha / if self.use_rslora { r.sqrt() } else { r }) as f32
    }

    /// Those of a model's linear layers (the head left out) that `target_modules` means, in the model's order.
    ///
    /// # Errors
    ///
    /// Code `bad-option` when a name matches no layer, or a regular expression none or something else besides.
    pub fn resolve<'a>(&self, linears: &'a [LoraModule]) -> Result<Vec<&'a LoraModule>> {
        self.target_modules.resolve(linears)
    }
}
