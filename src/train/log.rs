//! The lines of a run's log.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

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

/// An optimiser step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepLog {
    /// Counted from one.
    pub step: u32,
    pub total_steps: u32,
    /// Epochs done after this step.
    pub epoch: f64,
    /// Mean over all labelled tokens of the step.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss: f64,
    /// Global L2 norm of the gradient before clipping.
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
