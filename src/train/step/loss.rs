//! The loss amid a step by backpropagation, with the objective that makes a number of it.

use super::{LossPass, Passes, Recording, scores};
use crate::kernels::Recorder;
use crate::memory::{ProgramId, Tensor};
use crate::model::Loss;

/// What was recorded of the loss.
pub(super) struct LossPrograms {
    /// What trains, up to the gradient of the last layer's output.
    pub(super) train: Vec<LossPass>,
    pub(super) evaluate: LossPass,
    /// Passes of what learns that only make log-probabilities.
    pub(super) scores: Vec<(Passes, LossPass)>,
    /// What the rows of that gradient are still to be scaled by, through [`LossInputs::index`](crate::model::LossInputs::index).
    pub(super) late_weights: Option<Tensor>,
}

impl LossPrograms {
    /// Records the loss of the rows x [M, H], which `forward` computes, and their gradient dx [M, H], which it has cleared.
    pub(super) fn record(
        rec: &mut Recorder,
        recording: &Recording<'_>,
        forward: ProgramId,
        [x, dx]: [Tensor; 2],
    ) -> Self {
        let Recording { trained, inputs, objective, .. } = *recording;
        let (model, plan) = (recording.model(), inputs.loss_plan);
        let losses = rec.transient(plan.rows());
        rec.clear(losses);
        let loss = Loss { model, plan, inputs: inputs.loss, parameters: &trained.parameters, losses };
        let comes_late = objective.comes_late();
        // What learns behind the last layer has its gradient from the losses themselves, so these come twice where they wait
        // for what they weigh.
        let comes_twice = comes_late && trained.loss_learns(recording.model);
        let scores = scores::of(objective, |passes| passes == Passes::Score);
        let alone = match comes_twice || !scores.is_empty() {
            true => {
                let misses = rec.transient(plan.rows());
                loss.blocks_alone(rec, x, misses)
            }
            false => Vec::new(),
        };
        let scores = scores::record(rec, objective, scores, losses, &LossPass::new(forward, &alone));

        if comes_twice {
            let tally = rec.program();
            objective.record(rec, inputs, losses, inputs.loss.weight);
            let weighed = LossPass::new(forward, &alone).then(tally);
            let again = LossPass { before: Vec::new(), loss: loss.blocks(rec, x, dx), after: Vec::new() };
            return LossPrograms {
                train: vec![weighed.clone(), again],
                evaluate: weighed,
                scores,
                late_weights: None,
            };
        }
        let blocks = loss.blocks(rec, x, dx);
        let late_weights = comes_late.then(|| rec.transient(plan.rows()));
        let tally = rec.program();
        objective.record(rec, inputs, losses, late_weights.unwrap_or(inputs.loss.weight));
        let whole = LossPass::new(forward, &blocks).then(tally);
        LossPrograms { train: vec![whole.clone()], evaluate: whole, scores, late_weights }
    }
}
