//! The lines of a run's log.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::objective::MEASURED;

/// A line of the log, as it is saved. Of lines of other builds, fields that are missing have their default, and
/// those that are unknown are ignored.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Line {
    Step(StepLog),
    Eval(EvalLog),
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = Value::deserialize(deserializer)?;
        let is_eval = line.get("eval_loss").is_some();
        let read = if is_eval {
            serde_json::from_value(line).map(Line::Eval)
        } else {
            serde_json::from_value(line).map(Line::Step)
        };
        read.map_err(D::Error::custom)
    }
}

/// What an objective tells of a step beside its loss, by TRL's names.
pub type Metrics = BTreeMap<String, f64>;

/// An optimiser step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepLog {
    /// Counted from one.
    pub step: u32,
    pub total_steps: u32,
    /// Epochs done after this step.
    pub epoch: f64,
    /// What the step lowers: in supervised tuning the mean over all its labelled tokens.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss: f64,
    /// Global L2 norm of the gradient before clipping; not a number where MeZO has no gradient.
    #[serde(deserialize_with = "number_or_nan")]
    pub grad_norm: f64,
    pub learning_rate: f64,
    /// All tokens but padding, since the start of the run.
    pub num_tokens: u64,
    /// Over the last ten steps.
    pub tokens_per_second: f64,
    pub step_millis: f64,
    /// What reading the step's rows took, most of it while the GPU worked on the step before.
    pub data_millis: f64,
    pub remaining_seconds: f64,
    pub peak_gpu_bytes: u64,
    /// Whether `eval_steps` asks for an evaluation now; the next step waits until then.
    pub eval_due: bool,
    /// Whether the loss or the gradient was not finite, so that the step changed nothing.
    pub skipped: bool,
    /// Steps of the run so far that were skipped.
    pub skipped_steps: u32,
    /// What the objective tells besides.
    #[serde(flatten, deserialize_with = "metrics")]
    pub metrics: Metrics,
    /// What MeZO's steps have besides.
    #[serde(flatten)]
    pub mezo: Option<MezoLog>,
}

/// A step without a gradient: all that its update is made of, to the last digit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MezoLog {
    /// The objective ahead of the parameters along the direction, a mean over directions.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss_plus: f64,
    /// The same behind them.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss_minus: f64,
    /// (loss_plus − loss_minus) / (2 zo_eps) of each direction; a number by itself where there is one.
    #[serde(with = "one_or_many")]
    pub projected_grad: Vec<f64>,
    pub zo_eps: f64,
    /// What the directions are made from.
    pub seed: u32,
}

/// A list that is written without brackets where it has one number.
mod one_or_many {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Numbers {
        Many(Vec<Option<f64>>),
        One(Option<f64>),
    }

    pub fn serialize<S: Serializer>(numbers: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        match numbers {
            [number] => number.serialize(serializer),
            numbers => numbers.serialize(serializer),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let numbers = match Numbers::deserialize(deserializer)? {
            Numbers::Many(numbers) => numbers,
            Numbers::One(number) => vec![number],
        };
        Ok(numbers.into_iter().map(|number| number.unwrap_or(f64::NAN)).collect())
    }
}

/// Loss on held-out rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EvalLog {
    /// Optimiser steps done.
    pub step: u32,
    /// Mean over all labelled tokens.
    #[serde(deserialize_with = "number_or_nan")]
    pub eval_loss: f64,
    pub tokens: u64,
    pub rows: u64,
    /// What the objective tells besides, by the names that steps have with "eval_" before them.
    #[serde(flatten, deserialize_with = "eval_metrics")]
    pub metrics: Metrics,
}

/// Those that this build knows, of all that a line has.
fn metrics<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Metrics, D::Error> {
    metrics_with("", deserializer)
}

fn eval_metrics<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Metrics, D::Error> {
    metrics_with("eval_", deserializer)
}

fn metrics_with<'de, D: Deserializer<'de>>(prefix: &str, deserializer: D) -> Result<Metrics, D::Error> {
    let mut fields: BTreeMap<String, Value> = BTreeMap::deserialize(deserializer)?;
    let named = MEASURED.iter().map(|(_, name)| format!("{prefix}{name}"));
    let known = named.filter_map(|name| fields.remove_entry(&name));
    Ok(known.map(|(name, value)| (name, value.as_f64().unwrap_or(f64::NAN))).collect())
}

impl EvalLog {
    /// What is told under a name, with or without "eval_" before it.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let name = name.strip_prefix("eval_").unwrap_or(name);
        if name == "loss" { Some(self.eval_loss) } else { self.metrics.get(&format!("eval_{name}")).copied() }
    }

    /// The names of all that is told.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once("eval_loss").chain(self.metrics.keys().map(String::as_str))
    }
}

/// JSON knows neither NaN nor infinity: both are written as null, and read as NaN.
fn number_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_of_other_builds_are_read() {
        let read = |line: Value| serde_json::from_value::<Line>(line).unwrap();
        let known = StepLog { step: 3, loss: 2.5, ..StepLog::default() };
        assert_eq!(read(json!({"step": 3, "loss": 2.5, "metrics": {"margin": 1}})), Line::Step(known));
        let mezo = |slopes: &str| {
            format!(
                r#"{{"step":3,"loss_plus":0.1,"loss_minus":null,"projected_grad":{slopes},"zo_eps":1e-3,"seed":7}}"#
            )
        };
        for (json, slopes) in
            [("0.30000000000000004", vec![0.300_000_000_000_000_04]), ("[1.5,-2.5]", vec![1.5, -2.5])]
        {
            let Line::Step(StepLog { mezo: Some(log), .. }) = serde_json::from_str(&mezo(json)).unwrap()
            else {
                panic!("a step of MeZO")
            };
            assert!(log.loss_minus.is_nan() && log.projected_grad == slopes && log.seed == 7);
            assert_eq!(serde_json::to_value(&log).unwrap()["projected_grad"].to_string(), json);
        }
        let known = EvalLog { step: 3, eval_loss: 2.0, ..EvalLog::default() };
        assert_eq!(read(json!({"step": 3, "eval_loss": 2.0, "entropy": 1.5})), Line::Eval(known));
        let [Line::Step(step), Line::Eval(eval)] =
            [json!({"step": 1, "loss": null}), json!({"eval_loss": null})].map(read)
        else {
            panic!("a step and an evaluation")
        };
        assert!(step.loss.is_nan() && eval.eval_loss.is_nan());
    }
}
