//! A step by backpropagation: forward, loss, backward for every micro-batch, then the optimiser.

use super::inputs::{Inputs, REPORT_STATS};
use super::{Form, LossPass, Method, Passes, Programs, Recording, Update};
use crate::device::Store;
use crate::error::Result;
use crate::kernels::{Recorder, grad_norm, rows};
use crate::memory::{Class, ProgramId, Tensor};
use crate::model::{Backward, Keys, Loss, Parameters, Pass, Rows, embedding};
use crate::train::log::StepLog;
use crate::train::objective::Scores;
use crate::train::optimizer::{Optimizer, optimizer};
use crate::train::options::TrainOptions;

pub(in crate::train) struct Backprop {
    optimizer: Box<dyn Optimizer>,
    max_grad_norm: f32,
    /// Sums of squares of the gradients.
    partials: Tensor,
}

impl Backprop {
    pub(in crate::train) fn new(
        options: &TrainOptions,
        parameters: &mut Parameters,
        store: &mut Store,
    ) -> Result<Self> {
        parameters.keep_gradients(store)?;
        let counts = parameters.segments().iter().map(|segment| grad_norm::partial_count(segment.len));
        Ok(Backprop {
            optimizer: optimizer(options, parameters, store)?,
            max_grad_norm: options.max_grad_norm as f32,
            partials: store.keep(Class::Other, "squares", counts.sum())?,
        })
    }

    fn record_update(&self, rec: &mut Recorder, parameters: &Parameters, inputs: &Inputs) {
        let mut first = 0;
        for (segment, gradient) in parameters.with_gradients() {
            let params = grad_norm::SquaresParams { n: segment.len as u32, first: first as u32 };
            grad_norm::squares(rec, params, gradient, self.partials);
            first += grad_norm::partial_count(segment.len);
        }
        let params = grad_norm::FinishParams { count: first as u32, max_grad_norm: self.max_grad_norm };
        let stats = inputs.stats(grad_norm::STATS);
        grad_norm::finish(rec, params, self.partials, inputs.loss_sum, stats);
        self.optimizer.record(rec, parameters, stats);
    }

    /// Records passes over the model as it was loaded that only make log-probabilities of answers.
    fn record_reference(
        &self,
        rec: &mut Recorder,
        recording: &Recording<'_>,
        rows: &Rows,
        scores: impl Iterator<Item = Scores>,
    ) -> Vec<(Passes, LossPass)> {
        let scores: Vec<Scores> = scores.collect();
        if scores.is_empty() {
            return Vec::new();
        }
        let Recording { model, trained, inputs, objective } = *recording;
        let forward = rec.program();
        let pass = Pass { model, lora: None, parameters: None, rows, lora_scale: 1.0, dropout: None };
        let mut x = embedding::embed(rec, model, inputs.rows.ids, rows.count);
        for layer in 0..model.layers.len() {
            (_, x) = pass.layer_forward(rec, layer, x, Keys::OfPass);
        }
        let plan = inputs.loss_plan;
        let [losses, misses] = [0; 2].map(|_| rec.transient(plan.rows()));
        rec.clear(losses);
        let loss = Loss { model, plan, inputs: inputs.loss, parameters: &trained.parameters, losses };
        let blocks = loss.blocks_alone(rec, x, misses);
        let ending = |scores: Scores| {
            let told = rec.program();
            objective.record_scores(rec, losses, scores);
            let pass = LossPass { before: vec![forward], loss: blocks.clone(), after: vec![told] };
            (scores.passes, pass)
        };
        scores.into_iter().map(ending).collect()
    }
}

impl Method for Backprop {
    fn record(&self, recording: &Recording<'_>, form: Form) -> (Recorder, Programs) {
        let Recording { trained, inputs, objective, .. } = *recording;
        let model = recording.model();
        let Form { tokens, checkpointing, .. } = form;
        let mut rec = Recorder::new();
        let begin = rec.program();
        for (_, gradient) in trained.parameters.with_gradients() {
            rec.clear(gradient);
        }
        rec.clear(inputs.tally);
        let begin_eval = rec.program();
        rec.clear(inputs.tally);

        let rows = Rows { count: tokens, ..inputs.rows.clone() };
        let pass = recording.pass(&rows, form);
        let forward = rec.program();
        pass.begin(&mut rec);
        let mut x = embedding::embed(&mut rec, model, inputs.rows.ids, tokens);
        let mut layer_inputs = Vec::new();
        let mut kept = Vec::new();
        for layer in 0..model.layers.len() {
            layer_inputs.push(x);
            let (acts, y) = pass.layer_forward(&mut rec, layer, x, Keys::OfPass);
            kept.push(acts);
            x = y;
        }
        let dx = rec.transient(tokens * model.architecture.hidden.padded);
        rec.clear(dx);
        let plan = inputs.loss_plan;
        let losses = rec.transient(plan.rows());
        rec.clear(losses);
        let loss = Loss { model, plan, inputs: inputs.loss, parameters: &trained.parameters, losses };
        // What learns behind the last layer has a gradient as soon as the losses are there, so the losses come twice where
        // it waits for what they weigh.
        let comes_late = objective.comes_late();
        let comes_twice = comes_late && trained.loss_learns(recording.model);
        let scores = objective.scores();
        let scores_itself = scores.iter().any(|scores| scores.passes == Passes::Score);
        let alone = match comes_twice || scores_itself {
            true => {
                let misses = rec.transient(plan.rows());
                loss.blocks_alone(&mut rec, x, misses)
            }
            false => Vec::new(),
        };
        let score = scores.iter().filter(|scores| scores.passes == Passes::Score).map(|&scores| {
            let told = rec.program();
            objective.record_scores(&mut rec, losses, scores);
            let pass = LossPass { before: vec![forward], loss: alone.clone(), after: vec![told] };
            (Passes::Score, pass)
        });
        let mut scored: Vec<_> = score.collect();
        let weights = match comes_late && !comes_twice {
            true => rec.transient(plan.rows()),
            false => inputs.loss.weight,
        };
        let record_tally = |rec: &mut Recorder| {
            let tally = rec.program();
            objective.record(rec, inputs, losses, weights);
            tally
        };
        let (loss, tally) = if comes_twice {
            let tally = record_tally(&mut rec);
            (loss.blocks(&mut rec, x, dx), tally)
        } else {
            let blocks = loss.blocks(&mut rec, x, dx);
            (blocks, record_tally(&mut rec))
        };

        let backward = rec.program();
        if comes_late && !comes_twice {
            let stride = model.architecture.hidden.padded as u32;
            let params = rows::Params { count: plan.rows() as u32, stride, first: 0 };
            rows::scale(&mut rec, params, inputs.loss.index, weights, dx);
        }
        let mut dy = dx;
        for layer in (0..model.layers.len()).rev() {
            let acts = if checkpointing {
                pass.layer_activations(&mut rec, layer, layer_inputs[layer], Keys::OfPass)
            } else {
                kept[layer].clone()
            };
            let below = Backward { dy, wants_dx: layer > 0 || inputs.order.is_some() };
            dy = pass.layer_backward(&mut rec, layer, &acts, below).unwrap_or(dy);
        }
        if let Some(order) = inputs.order {
            embedding::embed_backward(&mut rec, &pass, order, dy);
        }
        let update = rec.program();
        self.record_update(&mut rec, &trained.parameters, inputs);
        let of_reference = scores.iter().filter(|scores| scores.passes != Passes::Score);
        scored.extend(self.record_reference(&mut rec, recording, &rows, of_reference.copied()));
        let pass = |before: Vec<ProgramId>, loss: &[ProgramId], after: Vec<ProgramId>| LossPass {
            before,
            loss: loss.to_vec(),
            after,
        };
        let (train, evaluate) = match comes_twice {
            true => (
                vec![pass(vec![forward], &alone, vec![tally]), pass(Vec::new(), &loss, vec![backward])],
                pass(vec![forward], &alone, vec![tally]),
            ),
            false => (
                vec![pass(vec![forward], &loss, vec![tally, backward])],
                pass(vec![forward], &loss, vec![tally]),
            ),
        };
        let programs = Programs {
            begin: vec![begin],
            train,
            end: vec![update],
            again: Vec::new(),
            begin_eval: vec![begin_eval],
            evaluate: vec![evaluate],
            scores: scored,
        };
        (rec, programs)
    }

    fn write(&self, store: &Store, update: Update) {
        self.optimizer.write(store, update);
    }

    fn read(&self, report: &[f32], log: &mut StepLog) {
        let stats = &report[REPORT_STATS..];
        log.grad_norm = f64::from(stats[grad_norm::STATS_NORM]);
        log.skipped = !log.loss.is_finite() || stats[grad_norm::STATS_FINITE] != 1.0;
    }

    fn kept(&self, segment: usize) -> Vec<(&'static str, Tensor)> {
        self.optimizer.kept(segment)
    }

    fn kept_of_matrices(&self) -> Vec<(String, Tensor)> {
        self.optimizer.kept_of_matrices()
    }
}
