//! Passes that only make log-probabilities of answers.

use super::{LossPass, Passes, Recording};
use crate::kernels::Recorder;
use crate::memory::Tensor;
use crate::model::{Loss, Pass, Rows};
use crate::train::objective::{Objective, Scores};

/// Those that the objective has, of the passes that `is_wanted` names.
pub(super) fn of(objective: &dyn Objective, is_wanted: impl Fn(Passes) -> bool) -> Vec<Scores> {
    objective.scores().into_iter().filter(|scores| is_wanted(scores.passes)).collect()
}

/// Records what each of these ends with, behind `pass`, which makes `losses`.
pub(super) fn record(
    rec: &mut Recorder,
    objective: &dyn Objective,
    scores: Vec<Scores>,
    losses: Tensor,
    pass: &LossPass,
) -> Vec<(Passes, LossPass)> {
    let ending = |scores: Scores| {
        let told = rec.program();
        objective.record_scores(rec, losses, scores);
        (scores.passes, pass.clone().then(told))
    };
    scores.into_iter().map(ending).collect()
}

/// Records those over the model as it was loaded.
pub(super) fn of_reference(
    rec: &mut Recorder,
    recording: &Recording<'_>,
    rows: &Rows,
) -> Vec<(Passes, LossPass)> {
    let Recording { model, trained, inputs, objective } = *recording;
    let scores = of(objective, |passes| passes != Passes::Score);
    if scores.is_empty() {
        return Vec::new();
    }
    let forward = rec.program();
    let pass = Pass { model, lora: None, parameters: None, rows, lora_scale: 1.0, dropout: None };
    let x = pass.forward(rec);
    let plan = inputs.loss_plan;
    let [losses, misses] = [0; 2].map(|_| rec.transient(plan.rows()));
    rec.clear(losses);
    let loss = Loss { model, plan, inputs: inputs.loss, parameters: &trained.parameters, losses };
    let blocks = loss.blocks_alone(rec, x, misses);
    record(rec, objective, scores, losses, &LossPass::new(forward, &blocks))
}
