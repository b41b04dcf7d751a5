//! The options of a run, under the names and with the defaults that bitsandbytes and TRL give them.
//!
//! Defaults are those of `BitsAndBytesConfig` (bitsandbytes 0.50) and of `SFTConfig`, `DPOConfig`, `ORPOConfig`, `CPOConfig`
//! and `KTOConfig` (TRL 1.16 on transformers 5.23). They differ in four places: `bnb_4bit_quant_type` is `"nf4"`, the only 4-bit
//! type here, where bitsandbytes would say `"fp4"`; `bnb_4bit_compute_dtype` is `"float16"`, which is used
//! only where a GPU is faster with it; `gradient_checkpointing` is `"auto"`, which recomputes
//! only when memory asks for it and changes no number; and `warmup_ratio`, which transformers 5 folded
//! into a fractional `warmup_steps`, is still understood as transformers 4 did.

mod preference;
mod quantization;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::adapter::LoraConfig;
use crate::bail;
use crate::data::batches::BatchOptions;
use crate::data::encode::{EncodeOptions, RowUse};
use crate::data::notice::Notice;
use crate::error::{Code, Error, Result};
use crate::format::WeightFormat;
use crate::kernels::mezo::MAX_SAMPLES;
use crate::options::Part;

pub use preference::{LossType, PreferenceOptions, ReferenceModel, TrainMethod};
pub use quantization::{ComputeDtype, QuantizationOptions, Requantize};

/// The whole config of a run: `{quantization, lora, train, init_adapter}`, each part optional.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunConfig {
    pub quantization: QuantizationOptions,
    /// The `lora` part as it was written: an object, or null where the config is silent.
    pub lora: Value,
    pub train: TrainOptions,
    /// A folder with a PEFT adapter to start from.
    pub init_adapter: Option<String>,
}

impl RunConfig {
    /// Reads a config and checks every option that needs no model to be checked. Errors of code `bad-option`
    /// name the option with its part, e.g. `train.max_steps`.
    pub fn from_json(value: &Value) -> Result<Self> {
        let mut part = Part::new("config", value)?;
        let quantization = QuantizationOptions::from_json(&part.take("quantization", Value::Null)?)?;
        let lora: Value = part.take("lora", Value::Null)?;
        LoraConfig::from_json(&lora)?;
        let train = TrainOptions::from_json(&part.take("train", Value::Null)?)?;
        train.expect_no_lora(&lora)?;
        if train.finetuning_type == FinetuningType::Full
            && (quantization.load_in_4bit || quantization.load_in_8bit)
        {
            bail!(
                BadOption,
                "train.finetuning_type is \"full\", which trains weights in 32 bits: leave quantization.load_in_4bit and \
                 load_in_8bit out, or train an adapter with \"lora\""
            );
        }
        let init_adapter = part.take("init_adapter", None)?;
        part.finish_with(|unknown| {
            let home = home_of(unknown)?;
            Some(format!("it belongs into {home:?}: {{{home:?}: {{{unknown:?}: …}}}}"))
        })?;
        Ok(RunConfig { quantization, lora, train, init_adapter })
    }

    /// What is worth knowing of the options.
    pub fn notices(&self) -> impl Iterator<Item = &Notice> {
        self.quantization.notices.iter().chain(&self.train.notices)
    }
}

/// The part that has an option of this name.
fn home_of(option: &str) -> Option<&'static str> {
    let parts = [
        ("quantization", serde_json::to_value(QuantizationOptions::default())),
        ("lora", serde_json::to_value(LoraConfig::default())),
        ("train", serde_json::to_value(TrainOptions::default())),
    ];
    let has = |(_, options): &(_, serde_json::Result<Value>)| {
        options.as_ref().is_ok_and(|options| options.get(option).is_some())
    };
    parts.into_iter().find(has).map(|(part, _)| part)
}

/// How the learning rate moves over the run; see [`crate::train::schedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrSchedulerType {
    Linear,
    Cosine,
    Constant,
    ConstantWithWarmup,
}

/// Whether backward runs each layer's forward again instead of keeping its activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum GradientCheckpointing {
    On,
    Off,
    /// On only where the activations would not fit.
    Auto,
}

/// What a run does after three steps in a row whose loss or gradient was not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNotFinite {
    /// Go back to the last checkpoint with half the learning rate; stop where there is none.
    Rewind,
    Stop,
}

/// What of the model learns, by the names that LLaMA-Factory gives these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinetuningType {
    /// An adapter beside the model.
    Lora,
    /// All weights of the model, in 32 bits.
    Full,
}

/// What makes updates of gradients, by transformers' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optim {
    /// Without a first moment, which keeps a moment for each row and each column.
    Adafactor,
    #[serde(alias = "adamw_torch_fused")]
    AdamwTorch,
    /// Without momentum, so that nothing is kept beside the gradient.
    Sgd,
    /// MeZO (Malladi et al. 2023): the loss at both sides of the weights along a random direction, without a gradient.
    Mezo,
}

/// What MeZO lowers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MezoObjective {
    /// The mean loss of labelled tokens.
    Loss,
    /// The share of rows whose labelled tokens are not all those that greedy decoding would give.
    ExactMatch,
}

/// The `train` part.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TrainOptions {
    /// What rows are learnt by.
    pub method: TrainMethod,
    #[serde(flatten)]
    pub preference: PreferenceOptions,
    pub finetuning_type: FinetuningType,
    /// Where all weights learn from gradients: passes read matrices that are rounded to BF16 from masters in f32. False for
    /// other runs, whatever was asked for.
    pub bf16: bool,
    /// The same for F16.
    pub fp16: bool,
    pub optim: Optim,
    pub learning_rate: f64,
    /// Optimiser steps; `None` (written −1) means `num_train_epochs` decides.
    pub max_steps: Option<u32>,
    pub num_train_epochs: f64,
    pub per_device_train_batch_size: u32,
    pub gradient_accumulation_steps: u32,
    /// Tokens a row keeps; `None` (written null) means that rows are never cut.
    pub max_length: Option<u32>,
    pub assistant_only_loss: bool,
    /// `None` means true for rows with prompt and completion, false for the others.
    pub completion_only_loss: Option<bool>,
    /// Steps, or a share of all steps where it is below 1.
    pub warmup_steps: f64,
    /// A share of all steps, used where `warmup_steps` is 0.
    pub warmup_ratio: f64,
    pub lr_scheduler_type: LrSchedulerType,
    pub weight_decay: f64,
    /// 0 turns clipping off.
    pub max_grad_norm: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    /// How far MeZO moves the weights to either side.
    pub zo_eps: f64,
    /// Directions of a step of MeZO, 1 to 8, whose updates are averaged.
    pub zo_num_samples: u32,
    pub mezo_objective: MezoObjective,
    pub seed: u64,
    pub shuffle_dataset: bool,
    /// Put rows of like lengths into the same step, which wastes less where rows are padded to sizes.
    pub group_by_length: bool,
    /// Let short rows share a sequence of at most `max_length` tokens, without seeing one another; each
    /// sequence then counts as a row of the batch.
    pub packing: bool,
    /// The share of rows that is held out for evaluation, by a hash of each row, between 0 and 1.
    pub test_size: f64,
    /// Rows of those held out that are evaluated, spread evenly over them; `None` means all.
    pub max_eval_samples: Option<u32>,
    /// Steps, or a share of all steps where it is below 1; see [`every_steps`].
    pub logging_steps: f64,
    /// Like `logging_steps`; `None` means no evaluation during the run.
    pub eval_steps: Option<f64>,
    /// Keep the checkpoint of the best evaluation beside the last ones.
    pub load_best_model_at_end: bool,
    /// What evaluations are compared by: the name of what they tell, with or without "eval_" before it.
    pub metric_for_best_model: String,
    /// Whether more of it is better; `None` means unless its name ends in "loss".
    pub greater_is_better: Option<bool>,
    pub gradient_checkpointing: GradientCheckpointing,
    /// Like `eval_steps`: when a run with a name saves a checkpoint; `None` means by time alone.
    pub save_steps: Option<f64>,
    /// Seconds after which a checkpoint is saved, whatever the step; `None` means by steps alone.
    pub save_seconds: Option<f64>,
    /// Checkpoints that are kept.
    pub save_total_limit: u32,
    pub on_not_finite: OnNotFinite,
    /// What is worth knowing of these options.
    #[serde(skip)]
    pub notices: Vec<Notice>,
}

impl Default for TrainOptions {
    fn default() -> Self {
        TrainOptions {
            method: TrainMethod::Sft,
            preference: PreferenceOptions::default(),
            finetuning_type: FinetuningType::Lora,
            bf16: false,
            fp16: false,
            optim: Optim::AdamwTorch,
            learning_rate: 2e-5,
            max_steps: None,
            num_train_epochs: 3.0,
            per_device_train_batch_size: 8,
            gradient_accumulation_steps: 1,
            max_length: Some(1024),
            assistant_only_loss: false,
            completion_only_loss: None,
            warmup_steps: 0.0,
            warmup_ratio: 0.0,
            lr_scheduler_type: LrSchedulerType::Linear,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            zo_eps: 1e-3,
            zo_num_samples: 1,
            mezo_objective: MezoObjective::Loss,
            seed: 42,
            shuffle_dataset: false,
            group_by_length: false,
            packing: false,
            test_size: 0.0,
            max_eval_samples: None,
            logging_steps: 10.0,
            eval_steps: None,
            load_best_model_at_end: false,
            metric_for_best_model: "loss".to_owned(),
            greater_is_better: None,
            gradient_checkpointing: GradientCheckpointing::Auto,
            save_steps: None,
            save_seconds: Some(60.0),
            save_total_limit: 2,
            on_not_finite: OnNotFinite::Rewind,
            notices: Vec::new(),
        }
    }
}

impl TrainOptions {
    /// The defaults of a method: TRL's configs of preferences have another learning rate than `SFTConfig`.
    fn of_method(method: TrainMethod) -> Self {
        match method {
            TrainMethod::Sft => TrainOptions::default(),
            _ => TrainOptions { method, learning_rate: 1e-6, ..TrainOptions::default() },
        }
    }

    /// Reads the `train` part; null is an empty part. Errors of code `bad-option` name the option.
    pub fn from_json(value: &Value) -> Result<Self> {
        let mut part = Part::new("train", value)?;
        let method = part.take("method", TrainMethod::Sft)?;
        let default = TrainOptions::of_method(method);
        let mut options = TrainOptions {
            method,
            preference: PreferenceOptions::take(&mut part, method)?,
            finetuning_type: part.take("finetuning_type", default.finetuning_type)?,
            bf16: part.take("bf16", default.bf16)?,
            fp16: part.take("fp16", default.fp16)?,
            optim: part.take("optim", default.optim)?,
            learning_rate: part.take("learning_rate", default.learning_rate)?,
            max_steps: match part.take("max_steps", -1i64)? {
                -1 => None,
                steps => Some(u32::try_from(steps).map_err(|_| {
                    Error::new(
                        Code::BadOption,
                        format!("train.max_steps is {steps}, but must be -1 or at least 1"),
                    )
                })?),
            },
            num_train_epochs: part.take("num_train_epochs", default.num_train_epochs)?,
            per_device_train_batch_size: part
                .take("per_device_train_batch_size", default.per_device_train_batch_size)?,
            gradient_accumulation_steps: part
                .take("gradient_accumulation_steps", default.gradient_accumulation_steps)?,
            max_length: part.take("max_length", default.max_length)?,
            assistant_only_loss: part.take("assistant_only_loss", default.assistant_only_loss)?,
            completion_only_loss: part.take("completion_only_loss", default.completion_only_loss)?,
            warmup_steps: part.take("warmup_steps", default.warmup_steps)?,
            warmup_ratio: part.take("warmup_ratio", default.warmup_ratio)?,
            lr_scheduler_type: part.take("lr_scheduler_type", default.lr_scheduler_type)?,
            weight_decay: part.take("weight_decay", default.weight_decay)?,
            max_grad_norm: part.take("max_grad_norm", default.max_grad_norm)?,
            adam_beta1: part.take("adam_beta1", default.adam_beta1)?,
            adam_beta2: part.take("adam_beta2", default.adam_beta2)?,
            adam_epsilon: part.take("adam_epsilon", default.adam_epsilon)?,
            zo_eps: part.take("zo_eps", default.zo_eps)?,
            zo_num_samples: part.take("zo_num_samples", default.zo_num_samples)?,
            mezo_objective: part.take("mezo_objective", default.mezo_objective)?,
            seed: part.take("seed", default.seed)?,
            shuffle_dataset: part.take("shuffle_dataset", default.shuffle_dataset)?,
            group_by_length: part.take("group_by_length", default.group_by_length)?,
            packing: part.take("packing", default.packing)?,
            test_size: part.take("test_size", default.test_size)?,
            max_eval_samples: part.take("max_eval_samples", default.max_eval_samples)?,
            logging_steps: part.take("logging_steps", default.logging_steps)?,
            eval_steps: part.take("eval_steps", default.eval_steps)?,
            load_best_model_at_end: part.take("load_best_model_at_end", default.load_best_model_at_end)?,
            metric_for_best_model: part.take("metric_for_best_model", default.metric_for_best_model)?,
            greater_is_better: part.take("greater_is_better", None)?,
            gradient_checkpointing: match part.take("gradient_checkpointing", Value::from("auto"))? {
                Value::Bool(true) => GradientCheckpointing::On,
                Value::Bool(false) => GradientCheckpointing::Off,
                Value::String(text) if text == "auto" => GradientCheckpointing::Auto,
                other => bail!(
                    BadOption,
                    "train.gradient_checkpointing is {other}, but must be true, false or \"auto\""
                ),
            },
            save_steps: part.take("save_steps", default.save_steps)?,
            save_seconds: part.take("save_seconds", default.save_seconds)?,
            save_total_limit: part.take("save_total_limit", default.save_total_limit)?,
            on_not_finite: part.take("on_not_finite", default.on_not_finite)?,
            notices: Vec::new(),
        };
        take_what_is_done_anyway(&mut part)?;
        part.finish()?;
        options.check()?;
        options.settle_16_bits();
        let bound_by_rate = match options.optim {
            Optim::Adafactor => Some("Adafactor"),
            Optim::AdamwTorch => Some("AdamW"),
            Optim::Mezo | Optim::Sgd => None,
        };
        if let Some(name) = bound_by_rate.filter(|_| options.learning_rate > HIGH_LEARNING_RATE) {
            let message = format!(
                "train.learning_rate is {}: {name} moves every value that learns by about so much in each step, \
                 which few models survive; usual for LoRA is 1e-4 to 1e-3, for all weights 1e-5 to 1e-4",
                options.learning_rate
            );
            options.notices.push(Notice::new("high-learning-rate", message));
        }
        Ok(options)
    }

    /// Tells where 16 bits were asked for and nothing is in these. What an adapter stands beside is as `quantization` has it, and
    /// MeZO has no gradients: the slope that it steps by would be that of roundings too.
    fn settle_16_bits(&mut self) {
        if self.finetuning_type == FinetuningType::Full && self.optim != Optim::Mezo {
            return;
        }
        for (option, is_asked) in [("bf16", &mut self.bf16), ("fp16", &mut self.fp16)] {
            if std::mem::take(is_asked) {
                let message = format!("train.{option} is true, but everything is computed in 32 bits");
                self.notices.push(Notice::new("computed-in-float32", message));
            }
        }
    }

    /// How passes read the matrices of a model whose weights all learn: as they are, or rounded to 16 bits.
    pub fn weight_format(&self) -> WeightFormat {
        match (self.bf16, self.fp16) {
            (true, _) => WeightFormat::Bf16,
            (_, true) => WeightFormat::F16,
            _ => WeightFormat::F32,
        }
    }

    /// Fails with code `bad-option` where all weights are to learn and there are options of an adapter.
    pub fn expect_no_lora(&self, lora: &Value) -> Result<()> {
        let has_options = lora.as_object().is_some_and(|lora| !lora.is_empty());
        if self.finetuning_type == FinetuningType::Full && has_options {
            bail!(
                BadOption,
                "train.finetuning_type is \"full\", which trains no adapter, but there are options of lora: leave one of \
                 them out"
            );
        }
        Ok(())
    }

    /// The options that change what a run computes, by name: those that a resumed run must share.
    pub fn identity(&self) -> Map<String, Value> {
        let Ok(Value::Object(mut options)) = serde_json::to_value(self) else { return Map::new() };
        for free in [
            "logging_steps",
            "max_eval_samples",
            "eval_steps",
            "load_best_model_at_end",
            "metric_for_best_model",
            "greater_is_better",
            "save_steps",
            "save_seconds",
            "save_total_limit",
            "on_not_finite",
        ] {
            options.remove(free);
        }
        options
    }

    /// What of these options decides the tokens and the loss mask of a row.
    pub fn encode_options(&self) -> EncodeOptions {
        let rows_as = match self.method {
            TrainMethod::Sft => RowUse::Supervised,
            TrainMethod::Dpo | TrainMethod::Orpo | TrainMethod::Simpo | TrainMethod::Cpo => RowUse::Pairs,
            TrainMethod::Kto => RowUse::Judged,
        };
        EncodeOptions {
            rows_as,
            assistant_only_loss: self.assistant_only_loss,
            completion_only_loss: self.completion_only_loss,
            max_length: self.max_length,
        }
    }

    /// What of these options decides which rows each step takes.
    pub fn batch_options(&self) -> BatchOptions {
        BatchOptions {
            rows_per_unit: self.encode_options().rows_as.rows_per_unit(),
            grouped: self.method == TrainMethod::Kto,
            batch_size: self.per_device_train_batch_size,
            accumulation: self.gradient_accumulation_steps,
            max_steps: self.max_steps,
            num_train_epochs: self.num_train_epochs,
            shuffle_seed: self.shuffle_dataset.then_some(self.seed),
            group_by_length: self.group_by_length,
            packing: self.max_length.filter(|_| self.packing),
        }
    }

    /// Whether an evaluation that tells `metric` is better than one that told `before`.
    pub fn is_better(&self, metric: f64, before: f64) -> bool {
        let greater = self.greater_is_better.unwrap_or(!self.metric_for_best_model.ends_with("loss"));
        if greater { metric > before } else { metric < before }
    }

    /// The most rows of tokens that make a micro-batch, unless rows are packed.
    pub fn rows_per_micro_batch(&self) -> usize {
        self.per_device_train_batch_size as usize * self.rows_per_unit()
    }

    /// Rows of tokens that are trained on together.
    pub fn rows_per_unit(&self) -> usize {
        self.encode_options().rows_as.rows_per_unit() as usize
    }

    fn check(&self) -> Result<()> {
        self.preference.check(self)?;
        if self.load_best_model_at_end && self.eval_steps.is_none() {
            bail!(
                BadOption,
                "train.load_best_model_at_end is true, but nothing is evaluated during the run: give train.eval_steps"
            );
        }
        if self.bf16 && self.fp16 {
            bail!(BadOption, "train.bf16 and train.fp16 are both true; set one of them");
        }
        if self.packing && self.max_length.is_none() {
            bail!(BadOption, "train.packing needs a train.max_length");
        }
        let ranges = [
            ("learning_rate", self.learning_rate, self.learning_rate >= 0.0, "at least 0"),
            ("num_train_epochs", self.num_train_epochs, self.num_train_epochs > 0.0, "above 0"),
            ("warmup_steps", self.warmup_steps, self.warmup_steps >= 0.0, "at least 0"),
            ("warmup_ratio", self.warmup_ratio, (0.0..=1.0).contains(&self.warmup_ratio), "between 0 and 1"),
            ("weight_decay", self.weight_decay, self.weight_decay >= 0.0, "at least 0"),
            ("max_grad_norm", self.max_grad_norm, self.max_grad_norm >= 0.0, "at least 0"),
            ("adam_beta1", self.adam_beta1, (0.0..1.0).contains(&self.adam_beta1), "at least 0 and below 1"),
            ("adam_beta2", self.adam_beta2, (0.0..1.0).contains(&self.adam_beta2), "at least 0 and below 1"),
            ("adam_epsilon", self.adam_epsilon, self.adam_epsilon >= 0.0, "at least 0"),
            ("zo_eps", self.zo_eps, self.zo_eps > 0.0, "above 0"),
            ("test_size", self.test_size, (0.0..1.0).contains(&self.test_size), "at least 0 and below 1"),
            ("logging_steps", self.logging_steps, self.logging_steps > 0.0, "above 0"),
            (
                "eval_steps",
                self.eval_steps.unwrap_or(1.0),
                self.eval_steps.is_none_or(|s| s > 0.0),
                "above 0",
            ),
            (
                "save_steps",
                self.save_steps.unwrap_or(1.0),
                self.save_steps.is_none_or(|s| s > 0.0),
                "above 0",
            ),
            (
                "save_seconds",
                self.save_seconds.unwrap_or(1.0),
                self.save_seconds.is_none_or(|s| s >= 0.0),
                "at least 0",
            ),
        ];
        for (option, value, in_range, range) in ranges {
            if !value.is_finite() || !in_range {
                bail!(BadOption, "train.{option} is {value}, but must be {range}");
            }
        }
        for (option, steps) in [
            ("logging_steps", self.logging_steps),
            ("eval_steps", self.eval_steps.unwrap_or(1.0)),
            ("save_steps", self.save_steps.unwrap_or(1.0)),
        ] {
            if steps > 1.0 && steps.fract() != 0.0 {
                bail!(BadOption, "train.{option} is {steps}, but above 1 it must be a whole number");
            }
        }
        for (option, value, least) in [
            ("max_steps", self.max_steps, 1),
            ("per_device_train_batch_size", Some(self.per_device_train_batch_size), 1),
            ("gradient_accumulation_steps", Some(self.gradient_accumulation_steps), 1),
            ("save_total_limit", Some(self.save_total_limit), 1),
            ("zo_num_samples", Some(self.zo_num_samples), 1),
            ("max_eval_samples", self.max_eval_samples, 1),
            // The first token of a row is never a target, so a row of one token has nothing to learn.
            ("max_length", self.max_length, 2),
        ] {
            if let Some(value) = value.filter(|value| *value < least) {
                bail!(BadOption, "train.{option} is {value}, but must be at least {least}");
            }
        }
        if self.per_device_train_batch_size > MAX_BATCH_SIZE {
            let size = self.per_device_train_batch_size;
            bail!(
                BadOption,
                "train.per_device_train_batch_size is {size}, but must be at most {MAX_BATCH_SIZE}"
            );
        }
        if self.zo_num_samples > MAX_SAMPLES as u32 {
            let samples = self.zo_num_samples;
            bail!(BadOption, "train.zo_num_samples is {samples}, but must be at most {MAX_SAMPLES}");
        }
        Ok(())
    }
}

/// Above this hardly anything learns: it is some hundred times what LoRA is usually trained with.
const HIGH_LEARNING_RATE: f64 = 0.1;

/// Options of TRL and transformers at the values that ask for nothing else than what is done.
fn take_what_is_done_anyway(part: &mut Part) -> Result<()> {
    part.only("truncation_mode", &["keep_start".into()])?;
    part.only("dataset_text_field", &["text".into()])?;
    part.only("report_to", &["none".into(), Value::Null])?;
    for option in ["tf32", "push_to_hub", "eval_packing", "padding_free", "activation_offloading"] {
        part.only(option, &[false.into(), Value::Null])?;
    }
    for option in ["neftune_noise_alpha", "label_smoothing_factor"] {
        part.only(option, &[0.into(), 0.0.into(), Value::Null])?;
    }
    // Of the machine that trains, and of how its gradients are checkpointed.
    part.ignore(&[
        "dataloader_num_workers",
        "dataloader_pin_memory",
        "dataset_num_proc",
        "disable_tqdm",
        "gradient_checkpointing_kwargs",
        "output_dir",
        "remove_unused_columns",
    ]);
    Ok(())
}

/// Rows that are learnt from at once. No GPU holds more, and what is counted by rows stays small.
const MAX_BATCH_SIZE: u32 = 1 << 16;

/// The whole number of steps that `logging_steps` or `eval_steps` stands for in a run of `total_steps`:
/// below 1 it is a share of the run, rounded up.
pub fn every_steps(steps: f64, total_steps: u32) -> u32 {
    if steps < 1.0 { (steps * f64::from(total_steps)).ceil() as u32 } else { steps as u32 }
}
