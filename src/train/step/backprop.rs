//! A step by backpropagation: forward, loss, backward for every micro-batch, then the optimiser.

use super::inputs::{Inputs, REPORT_STATS};
use super::loss::LossPrograms;
use super::{Form, Method, Programs, Recording, Update, scores};
use crate::device::Store;
use crate::error::Result;
use crate::kernels::{Recorder, grad_norm, rows};
use crate::memory::{Class, ProgramId, Tensor};
use crate::model::{Backward, Keys, Parameters, Rows, Segment, embedding};
use crate::train::log::StepLog;
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
}

/// Records the rounding of each segment that is one of masters, in a program of its own.
fn record_rounding(rec: &mut Recorder, parameters: &Parameters) -> Vec<(usize, ProgramId)> {
    let segments = parameters.segments().iter().enumerate();
    let of_masters = segments.filter(|(_, segment)| segment.rounded.is_some());
    let rounding = |(number, segment): (usize, &Segment)| {
        let program = rec.program();
        segment.record_rounding(rec);
        (number, program)
    };
    of_masters.map(rounding).collect()
}

impl Method for Backprop {
    fn record(&self, recording: &Recording<'_>, form: Form) -> (Recorder, Programs) {
        let Recording { trained, inputs, .. } = *recording;
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
        let loss = LossPrograms::record(&mut rec, recording, forward, [x, dx]);

        let backward = rec.program();
        if let Some(weights) = loss.late_weights {
            let stride = model.architecture.hidden.padded as u32;
            let params = rows::Params { count: inputs.loss_plan.rows() as u32, stride, first: 0 };
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
        let rounding = record_rounding(&mut rec, &trained.parameters);
        let mut scores = loss.scores;
        scores.extend(scores::of_reference(&mut rec, recording, &rows));
        let mut train = loss.train;
        train.last_mut().expect("a loss has a pass").after.push(backward);
        let programs = Programs {
            begin: vec![begin],
            train,
            end: [update].into_iter().chain(rounding.iter().map(|(_, program)| *program)).collect(),
            again: Vec::new(),
            rounding,
            begin_eval: vec![begin_eval],
            evaluate: vec![loss.evaluate],
            scores,
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
