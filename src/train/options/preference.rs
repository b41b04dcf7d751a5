//! Methods that learn from preferences, and their options, under TRL's names and with its defaults.

use serde_json::Value;

use super::{MezoObjective, Optim, TrainOptions};
use crate::bail;
use crate::error::Result;
use crate::options::Part;

/// What rows are learnt by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrainMethod {
    /// The likelihood of what rows say.
    Sft,
    /// Of pairs: the chosen answer becomes likelier than the rejected one, against a reference.
    Dpo,
    /// The same by odds and without a reference, beside the likelihood of the chosen answer.
    Orpo,
    /// The same by token, with a margin and without a reference.
    Simpo,
    /// The same without a reference, beside the likelihood of the chosen answer.
    Cpo,
    /// Of answers that are rated one by one.
    Kto,
}

impl TrainMethod {
    fn name(self) -> &'static str {
        match self {
            TrainMethod::Sft => "sft",
            TrainMethod::Dpo => "dpo",
            TrainMethod::Orpo => "orpo",
            TrainMethod::Simpo => "simpo",
            TrainMethod::Cpo => "cpo",
            TrainMethod::Kto => "kto",
        }
    }

    /// Whether answers are compared with what a reference makes of them.
    pub fn has_reference(self) -> bool {
        matches!(self, TrainMethod::Dpo | TrainMethod::Kto)
    }
}

/// What DPO lowers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossType {
    Sigmoid,
    Hinge,
    Ipo,
    Robust,
    ApoZero,
    ApoDown,
    Sft,
}

/// What answers are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReferenceModel {
    /// The model without an adapter.
    Base,
    /// What the run began from: the adapter that was loaded, or the weights.
    Start,
}

/// The options of `train` that belong to preferences.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct PreferenceOptions {
    /// How far the model may leave the reference: the larger, the less.
    pub beta: f64,
    /// Of DPO: one loss, or several that are added up.
    pub loss_type: Vec<LossType>,
    /// What each of them weighs; `None` means 1.
    pub loss_weights: Option<Vec<f64>>,
    /// The share of pairs that are taken to be the wrong way round; robust DPO, CPO and SimPO heed it.
    pub label_smoothing: f64,
    /// The margin that SimPO wants.
    pub simpo_gamma: f64,
    /// What the likelihood of chosen answers weighs in CPO.
    pub cpo_alpha: f64,
    /// What KTO has good and bad answers weigh.
    pub desirable_weight: f64,
    pub undesirable_weight: f64,
    pub reference: ReferenceModel,
    /// Whether the reference's log-probabilities are computed once before the first step and kept, or along with each step.
    pub precompute_ref_log_probs: bool,
}

impl Default for PreferenceOptions {
    fn default() -> Self {
        PreferenceOptions {
            beta: 0.1,
            loss_type: vec![LossType::Sigmoid],
            loss_weights: None,
            label_smoothing: 0.0,
            simpo_gamma: 0.5,
            cpo_alpha: 1.0,
            desirable_weight: 1.0,
            undesirable_weight: 1.0,
            reference: ReferenceModel::Base,
            precompute_ref_log_probs: true,
        }
    }
}

impl PreferenceOptions {
    /// Takes them out of `train`.
    ///
    /// # Errors
    ///
    /// Code `bad-option`, naming an option that is of another method or of a wrong type.
    pub(super) fn take(part: &mut Part, method: TrainMethod) -> Result<Self> {
        let default = PreferenceOptions::default();
        let options = PreferenceOptions {
            beta: part.take("beta", default.beta)?,
            loss_type: take_loss_type(part, method)?,
            loss_weights: part.take("loss_weights", None)?,
            label_smoothing: part.take("label_smoothing", default.label_smoothing)?,
            simpo_gamma: part.take("simpo_gamma", default.simpo_gamma)?,
            cpo_alpha: part.take("cpo_alpha", default.cpo_alpha)?,
            desirable_weight: part.take("desirable_weight", default.desirable_weight)?,
            undesirable_weight: part.take("undesirable_weight", default.undesirable_weight)?,
            reference: part.take("reference", default.reference)?,
            precompute_ref_log_probs: part
                .take("precompute_ref_log_probs", default.precompute_ref_log_probs)?,
        };
        // TRL's configs have these under other names, or at the values that ask for what is done here.
        part.only("disable_dropout", &[true.into()])?;
        part.only("max_prompt_length", &[Value::Null])?;
        Ok(options)
    }

    /// Fails with code `bad-option` where they make no sense, or are of another method than that of `train`.
    pub(super) fn check(&self, train: &TrainOptions) -> Result<()> {
        use TrainMethod::{Cpo, Dpo, Kto, Orpo, Sft, Simpo};
        let (method, default) = (train.method, PreferenceOptions::default());
        let all = [Dpo, Orpo, Simpo, Cpo, Kto];
        let owners: [(&str, bool, &[TrainMethod]); 10] = [
            ("beta", self.beta == default.beta, &all),
            ("loss_type", self.loss_type == default.loss_type, &[Dpo]),
            ("loss_weights", self.loss_weights == default.loss_weights, &[Dpo]),
            ("label_smoothing", self.label_smoothing == default.label_smoothing, &[Dpo, Simpo, Cpo]),
            ("simpo_gamma", self.simpo_gamma == default.simpo_gamma, &[Simpo]),
            ("cpo_alpha", self.cpo_alpha == default.cpo_alpha, &[Cpo]),
            ("desirable_weight", self.desirable_weight == default.desirable_weight, &[Kto]),
            ("undesirable_weight", self.undesirable_weight == default.undesirable_weight, &[Kto]),
            ("reference", self.reference == default.reference, &[Dpo, Kto]),
            (
                "precompute_ref_log_probs",
                self.precompute_ref_log_probs == default.precompute_ref_log_probs,
                &[Dpo, Kto],
            ),
        ];
        for (option, is_default, owners) in owners {
            if !is_default && !owners.contains(&method) {
                let names: Vec<String> = owners.iter().map(|owner| format!("{:?}", owner.name())).collect();
                bail!(
                    BadOption,
                    "train.{option} belongs to the method {}, and train.method is {:?}: leave one of them out",
                    names.join(" or "),
                    method.name()
                );
            }
        }
        let smoothing = (0.0..0.5).contains(&self.label_smoothing);
        for (option, value, in_range, range) in [
            ("beta", self.beta, self.beta > 0.0, "above 0"),
            ("label_smoothing", self.label_smoothing, smoothing, "at least 0 and below 0.5"),
            ("simpo_gamma", self.simpo_gamma, true, "a number"),
            ("cpo_alpha", self.cpo_alpha, self.cpo_alpha >= 0.0, "at least 0"),
            ("desirable_weight", self.desirable_weight, self.desirable_weight >= 0.0, "at least 0"),
            ("undesirable_weight", self.undesirable_weight, self.undesirable_weight >= 0.0, "at least 0"),
        ] {
            if !value.is_finite() || !in_range {
                bail!(BadOption, "train.{option} is {value}, but must be {range}");
            }
        }
        if let Some(weights) = &self.loss_weights
            && weights.len() != self.loss_type.len()
        {
            bail!(
                BadOption,
                "train.loss_weights has {} entries and train.loss_type {}: give one weight for each loss",
                weights.len(),
                self.loss_type.len()
            );
        }
        if self.loss_weights.iter().flatten().any(|weight| !weight.is_finite()) {
            bail!(BadOption, "train.loss_weights must be numbers");
        }
        if self.reference == ReferenceModel::Start && !self.precompute_ref_log_probs {
            bail!(
                BadOption,
                "train.reference is \"start\", which is no longer there once a step was made: leave \
                 train.precompute_ref_log_probs true"
            );
        }
        if method != Sft {
            expect_fitting(train)?;
        }
        Ok(())
    }
}

/// The losses of DPO, or the one that supervised tuning has.
fn take_loss_type(part: &mut Part, method: TrainMethod) -> Result<Vec<LossType>> {
    let default = PreferenceOptions::default().loss_type;
    if method == TrainMethod::Sft {
        part.only("loss_type", &["nll".into(), "sigmoid".into()])?;
        return Ok(default);
    }
    let of_one = |value: Value| if value.is_string() { Value::Array(vec![value]) } else { value };
    let named = of_one(part.take("loss_type", Value::from("sigmoid"))?);
    match serde_json::from_value::<Vec<LossType>>(named.clone()) {
        Ok(types) if !types.is_empty() => Ok(types),
        Ok(_) => bail!(BadOption, "train.loss_type is empty; name at least one loss"),
        Err(cause) => bail!(BadOption, "train.loss_type is {named}: {cause}"),
    }
}

/// Fails with code `bad-option` where other options of `train` do not go with learning from preferences.
fn expect_fitting(train: &TrainOptions) -> Result<()> {
    let name = train.method.name();
    if train.optim == Optim::Mezo || train.mezo_objective != MezoObjective::Loss {
        bail!(
            BadOption,
            "train.optim is \"mezo\", which has supervised objectives alone, and train.method is {name:?}: take another \
             optim"
        );
    }
    for (option, is_set) in [
        ("assistant_only_loss", train.assistant_only_loss),
        ("completion_only_loss", train.completion_only_loss == Some(false)),
    ] {
        if is_set {
            bail!(
                BadOption,
                "train.{option} belongs to the method \"sft\": with {name:?} it is always the answers that count"
            );
        }
    }
    if train.method != TrainMethod::Kto {
        return Ok(());
    }
    if train.per_device_train_batch_size < 2 {
        bail!(
            BadOption,
            "train.per_device_train_batch_size is 1, but \"kto\" compares each answer with one to another prompt of its \
             micro-batch: give it at least 2"
        );
    }
    for (option, is_set) in [("packing", train.packing), ("group_by_length", train.group_by_length)] {
        if is_set {
            bail!(
                BadOption,
                "train.{option} does not go with \"kto\", whose micro-batches are fixed: leave it out"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::Code;

    /// As dataclasses.fields of TRL 1.16.0's `DPOConfig`, `ORPOConfig`, `CPOConfig` and `KTOConfig` give them.
    #[test]
    fn silent_options_have_the_defaults_of_trl() {
        for method in ["dpo", "orpo", "simpo", "cpo", "kto"] {
            let train = TrainOptions::from_json(&json!({"method": method})).unwrap();
            assert_eq!((train.learning_rate, train.max_length), (1e-6, Some(1024)));
            assert_eq!((train.num_train_epochs, train.per_device_train_batch_size), (3.0, 8));
            assert_eq!(train.preference, PreferenceOptions::default());
        }
        assert_eq!(TrainOptions::from_json(&json!({"method": "sft"})).unwrap(), TrainOptions::default());
    }

    #[test]
    fn losses_are_one_or_several() {
        let read = |train: Value| TrainOptions::from_json(&train).unwrap().preference.loss_type;
        assert_eq!(read(json!({"method": "dpo", "loss_type": "ipo"})), [LossType::Ipo]);
        let several = json!({"method": "dpo", "loss_type": ["sigmoid", "sft"], "loss_weights": [0.8, 0.2]});
        assert_eq!(read(several), [LossType::Sigmoid, LossType::Sft]);
        assert_eq!(read(json!({"loss_type": "nll"})), [LossType::Sigmoid]);
    }

    #[test]
    fn a_wrong_option_is_named() {
        for (train, expected) in [
            (json!({"method": "ppo"}), "train.method is \"ppo\": unknown variant `ppo`, expected one of"),
            (json!({"method": "dpo", "beta": 0}), "train.beta is 0, but must be above 0"),
            (
                json!({"method": "dpo", "loss_type": "exo_pair"}),
                "train.loss_type is [\"exo_pair\"]: unknown variant `exo_pair`, expected one of",
            ),
            (json!({"method": "dpo", "loss_type": []}), "train.loss_type is empty"),
            (
                json!({"method": "dpo", "loss_type": ["sft", "ipo"], "loss_weights": [1]}),
                "train.loss_weights has 1 entries and train.loss_type 2",
            ),
            (
                json!({"method": "cpo", "label_smoothing": 0.5}),
                "train.label_smoothing is 0.5, but must be at least 0 and below 0.5",
            ),
            (
                json!({"method": "dpo", "simpo_gamma": 1}),
                "train.simpo_gamma belongs to the method \"simpo\", and train.method is \"dpo\"",
            ),
            (
                json!({"beta": 0.2}),
                "train.beta belongs to the method \"dpo\" or \"orpo\" or \"simpo\" or \"cpo\" or \"kto\"",
            ),
            (
                json!({"method": "dpo", "reference": "start", "precompute_ref_log_probs": false}),
                "train.reference is \"start\", which is no longer there",
            ),
            (
                json!({"method": "kto", "per_device_train_batch_size": 1}),
                "train.per_device_train_batch_size is 1, but \"kto\" compares",
            ),
            (json!({"method": "kto", "packing": true}), "train.packing does not go with \"kto\""),
            (json!({"method": "orpo", "optim": "mezo"}), "train.optim is \"mezo\", which has supervised"),
            (
                json!({"method": "dpo", "assistant_only_loss": true}),
                "train.assistant_only_loss belongs to the method \"sft\"",
            ),
        ] {
            let error = TrainOptions::from_json(&train).unwrap_err();
            assert_eq!(error.code, Code::BadOption, "{train}");
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }
}
