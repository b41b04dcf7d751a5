//! The options of LoRA, with PEFT's names and defaults.

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::patterns::{Layers, OneOrMany, Patterns, expect_rank};
use super::{Bias, LoraModule, TargetModules};
use crate::bail;
use crate::error::Result;
use crate::options::Part;

pub(super) const MAX_RANK: usize = 512;

/// The first values of an adapter: PEFT's `init_lora_weights`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InitLoraWeights {
    /// A uniform (`kaiming_uniform_`), B zero: true.
    #[default]
    Kaiming,
    /// A normal with a deviation of 1/r, B zero.
    Gaussian,
    /// A and B uniform, as torch makes linear layers: false.
    Linear,
}

impl InitLoraWeights {
    fn from_json(value: &Value) -> Result<Self> {
        match value {
            Value::Bool(true) => Ok(InitLoraWeights::Kaiming),
            Value::Bool(false) => Ok(InitLoraWeights::Linear),
            Value::String(name) if name.eq_ignore_ascii_case("gaussian") => Ok(InitLoraWeights::Gaussian),
            other => {
                bail!(BadOption, "lora.init_lora_weights is {other}, but must be true, false or \"gaussian\"")
            }
        }
    }

    /// As PEFT's configs have it.
    pub fn to_json(self) -> Value {
        match self {
            InitLoraWeights::Kaiming => true.into(),
            InitLoraWeights::Gaussian => "gaussian".into(),
            InitLoraWeights::Linear => false.into(),
        }
    }
}

impl Serialize for InitLoraWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

/// PEFT's `LoraConfig`, as far as tabtune does what it says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoraConfig {
    /// The rank of the update, 1 to 512.
    pub r: usize,
    pub lora_alpha: f64,
    /// The chance that an input of `lora_A` is zeroed in training, at least 0 and below 1.
    pub lora_dropout: f64,
    pub target_modules: TargetModules,
    /// Scale by `lora_alpha / √r` instead of `lora_alpha / r` (<https://arxiv.org/abs/2312.03732>).
    pub use_rslora: bool,
    pub init_lora_weights: InitLoraWeights,
    /// Modules that are not adapted, whatever `target_modules` says.
    pub exclude_modules: Option<TargetModules>,
    /// The numbers of the layers that are adapted; `None` means all.
    pub layers_to_transform: Option<OneOrMany<usize>>,
    /// What comes before the number of a layer in paths; `None` means any two parts.
    pub layers_pattern: Option<OneOrMany<String>>,
    /// Ranks other than `r`, by the ends of paths.
    pub rank_pattern: Patterns,
    /// Alphas other than `lora_alpha`, by the ends of paths.
    pub alpha_pattern: Patterns,
    /// Modules of the model that learn themselves, by the ends of their paths.
    pub modules_to_save: Vec<String>,
    pub bias: Bias,
    /// Scale the rows of the adapted weight to magnitudes that learn (<https://arxiv.org/abs/2402.09353>).
    pub use_dora: bool,
    /// Let A stay as it starts and B alone learn (FFA-LoRA, <https://arxiv.org/abs/2403.12313>): what several have learnt then
    /// adds up exactly. It is no option of PEFT's, where `requires_grad` of every `lora_A` is turned off instead, and no config
    /// that is saved has it.
    pub freeze_a: bool,
}

impl Default for LoraConfig {
    fn default() -> Self {
        LoraConfig {
            r: 8,
            lora_alpha: 8.0,
            lora_dropout: 0.0,
            target_modules: TargetModules::Names(vec!["q_proj".to_owned(), "v_proj".to_owned()]),
            use_rslora: false,
            init_lora_weights: InitLoraWeights::default(),
            exclude_modules: None,
            layers_to_transform: None,
            layers_pattern: None,
            rank_pattern: Patterns::default(),
            alpha_pattern: Patterns::default(),
            modules_to_save: Vec::new(),
            bias: Bias::default(),
            use_dora: false,
            freeze_a: false,
        }
    }
}

/// Options of PEFT's `LoraConfig` that change no number here, whatever they say.
pub(super) const WITHOUT_EFFECT: [&str; 8] = [
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
];

/// Options of PEFT's `LoraConfig` (PEFT 0.21) that are off here, for good or for now.
const OFF: [&str; 17] = [
    "alora_invocation_tokens",
    "arrow_config",
    "corda_config",
    "eva_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "loftq_config",
    "lora_bias",
    "lora_ga_config",
    "megatron_config",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
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
            init_lora_weights: match part.take("init_lora_weights", Value::Null)? {
                Value::Null => self.init_lora_weights,
                value => InitLoraWeights::from_json(&value)?,
            },
            exclude_modules: part.take("exclude_modules", self.exclude_modules)?,
            layers_to_transform: part.take("layers_to_transform", self.layers_to_transform)?,
            layers_pattern: part.take("layers_pattern", self.layers_pattern)?,
            rank_pattern: part.take("rank_pattern", self.rank_pattern)?,
            alpha_pattern: part.take("alpha_pattern", self.alpha_pattern)?,
            modules_to_save: part
                .take::<Option<_>>("modules_to_save", Some(self.modules_to_save))?
                .unwrap_or_default(),
            bias: part.take("bias", self.bias)?,
            use_dora: part.take::<Option<_>>("use_dora", Some(self.use_dora))?.unwrap_or_default(),
            freeze_a: part.take::<Option<_>>("freeze_a", Some(self.freeze_a))?.unwrap_or_default(),
        };
        part.only("peft_type", &["LORA".into()])?;
        part.only("task_type", &["CAUSAL_LM".into(), Value::Null])?;
        match config.modules_to_save.is_empty() {
            true => part.ignore(&["ensure_weight_tying"]),
            // A tied head stays what the embedding was.
            false => part.only("ensure_weight_tying", &[false.into(), Value::Null])?,
        }
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
        for (key, rank) in &self.rank_pattern.0 {
            expect_rank("rank_pattern", key, *rank, MAX_RANK)?;
        }
        if let Some((key, alpha)) = self.alpha_pattern.0.iter().find(|(_, alpha)| *alpha <= 0.0) {
            bail!(BadOption, "lora.alpha_pattern: {key:?} has {alpha}, not a positive number");
        }
        self.rank_pattern.validate("rank_pattern")?;
        self.alpha_pattern.validate("alpha_pattern")?;
        if self.layers_pattern.is_some() && self.layers_to_transform.is_none() {
            bail!(BadOption, "lora.layers_pattern needs lora.layers_to_transform, the numbers of the layers");
        }
        self.layers()?;
        if let Some(excluded) = &self.exclude_modules {
            excluded.validate("exclude_modules")?;
        }
        if self.layers_to_transform.is_some()
            && matches!(self.target_modules, TargetModules::Pattern(_) | TargetModules::AllLinear)
        {
            bail!(
                BadOption,
                "lora.layers_to_transform goes with a list of target_modules alone, as in PEFT: write the names of the \
                 modules, or the numbers of the layers into the regular expression"
            );
        }
        self.target_modules.validate("target_modules")
    }

    fn layers(&self) -> Result<Layers<'_>> {
        let numbers = self.layers_to_transform.as_ref().map_or(&[][..], OneOrMany::all);
        Layers::new(numbers, self.layers_pattern.as_ref().map_or(&[][..], OneOrMany::all))
    }

    /// The rank of a module's matrices.
    pub fn rank_of(&self, module: &LoraModule) -> usize {
        self.rank_pattern.of(&module.path).map_or(self.r, |rank| rank as usize)
    }

    /// What `B (A x)` of a module is multiplied with.
    pub fn scale_of(&self, module: &LoraModule) -> f32 {
        let r = self.rank_of(module) as f64;
        let alpha = self.alpha_pattern.of(&module.path).unwrap_or(self.lora_alpha);
        (alpha / if self.use_rslora { r.sqrt() } else { r }) as f32
    }

    /// Those of a model's linear layers (the head left out) that are adapted, in the model's order.
    ///
    /// # Errors
    ///
    /// Code `bad-option` when a name matches no layer, or a regular expression none or something else besides; when
    /// nothing is left of what `target_modules` means.
    pub fn resolve<'a>(&self, linears: &'a [LoraModule]) -> Result<Vec<&'a LoraModule>> {
        let mut modules = self.target_modules.resolve(linears)?;
        let layers = self.layers()?;
        // A module whose whole path is in the list is adapted in whatever layer it is.
        modules.retain(|module| self.target_modules.has_path(&module.path) || layers.has(&module.path));
        if let Some(excluded) = &self.exclude_modules {
            let mut left = Vec::new();
            for module in modules {
                if !excluded.means(&module.path)? {
                    left.push(module);
                }
            }
            modules = left;
        }
        if modules.is_empty() {
            bail!(
                BadOption,
                "lora: no module is left of target_modules after layers_to_transform, layers_pattern and exclude_modules; \
                 the model has layers 0 to {}",
                last_layer(linears)
            );
        }
        Ok(modules)
    }
}

/// The number of the last layer that has a module.
fn last_layer(linears: &[LoraModule]) -> usize {
    let numbers =
        linears.iter().flat_map(|module| module.path.split('.').filter_map(|part| part.parse().ok()));
    numbers.max().unwrap_or(0)
}
