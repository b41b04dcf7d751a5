//! The step as a recording: what the host fills in before it, and the operations in their order.

use super::options::TrainOptions;
use crate::device::Store;
use crate::error::Result;
use crate::kernels::{Recorder, adamw, grad_norm};
use crate::memory::{Class, ProgramId, Tensor};
use crate::model::{
    Backward, Keys, Lora, Loss, LossInputs, LossPlan, Model, Pass, RopeTables, Rows, RowsSeen, embedding,
};

/// The report of a step: the loss sum at 0, what [`grad_norm`] says at 64.
const REPORT_VALUES: usize = 128;
pub(super) const REPORT_BYTES: u64 = 4 * REPORT_VALUES as u64;
pub(super) const REPORT_STATS: usize = 64;

/// The programs of a recording, in the order in which a step runs them.
#[derive(Clone)]
pub(super) struct Programs {
    pub(super) begin: ProgramId,
    pub(super) begin_eval: ProgramId,
    pub(super) forward: ProgramId,
    pub(super) loss: Vec<ProgramId>,
    pub(super) loss_sum: ProgramId,
    pub(super) backward: ProgramId,
    pub(super) optimize: ProgramId,
}

/// The kept tensors that the host fills before a pass.
pub(super) struct Inputs {
    pub(super) rows: Rows,
    pub(super) loss: LossInputs,
    pub(super) loss_plan: LossPlan,
    /// Gains the sum of the losses of all labelled rows.
    pub(super) loss_sum: Tensor,
    pub(super) dropout_seed: Tensor,
    pub(super) hyper: Tensor,
    pub(super) report: Tensor,
    pub(super) partials: Tensor,
}

impl Inputs {
    pub(super) fn new(
        store: &mut Store,
        model: &Model,
        lora: &Lora,
        tokens: usize,
        loss_plan: LossPlan,
        longest: usize,
    ) -> Result<Self> {
        let mut keep = |label: &str, elements: usize| store.keep(Class::Other, label, elements);
        let mut views = Vec::new();
        for _ in &model.architecture.views {
            views.push(RowsSeen { spans: keep("spans", 2 * tokens)?, last: keep("last", tokens)? });
        }
        let mut ropes = Vec::new();
        for rope in &model.architecture.ropes {
            let table = longest * rope.rotary_dim / 2;
            ropes.push(RopeTables { cos: keep("rope cos", table)?, sin: keep("rope sin", table)? });
        }
        let rows = Rows {
            count: tokens,
            ids: keep("ids", tokens)?,
            positions: keep("positions", tokens)?,
            views,
            ropes,
        };
        let report = keep("report", REPORT_VALUES)?;
        let loss = LossInputs {
            index: keep("label index", loss_plan.rows())?,
            targets: keep("targets", loss_plan.rows())?,
            weight: keep("row weight", loss_plan.rows())?,
        };
        let partials = lora.segments.iter().map(|segment| grad_norm::partial_count(segment.len)).sum();
        Ok(Inputs {
            rows,
            loss,
            loss_plan,
            loss_sum: report.slice(0, 16),
            dropout_seed: keep("dropout seed", 1)?,
            hyper: keep("adamw", 16)?,
            report,
            partials: keep("squares", partials)?,
        })
    }
}

/// All that a recording of the step depends on, besides its size.
pub(super) struct Recording<'a> {
    pub(super) model: &'a Model,
    pub(super) lora: &'a Lora,
    pub(super) inputs: &'a Inputs,
    pub(super) options: &'a TrainOptions,
}

impl Recording<'_> {
    pub(super) fn record(&self, checkpointing: bool, tokens: usize, dropout: f64) -> (Recorder, Programs) {
        let Recording { model, lora, inputs, .. } = *self;
        let mut rec = Recorder::new();
        let begin = rec.program();
        for segment in &lora.segments {
            rec.clear(segment.grad);
        }
        rec.clear(inputs.loss_sum);
        let begin_eval = rec.program();
        rec.clear(inputs.loss_sum);

        let has_dropout = lora.config.lora_dropout > 0.0;
        let rows = Rows { count: tokens, ..inputs.rows.clone() };
        let pass = Pass {
            model,
            lora: Some(lora),
            rows: &rows,
            lora_scale: lora.config.scale(),
            dropout: has_dropout.then_some((dropout, inputs.dropout_seed)),
        };
        let forward = rec.program();
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
        let losses = rec.transient(inputs.loss_plan.rows());
        rec.clear(losses);
        let plan = inputs.loss_plan;
        let loss = Loss { model, plan, inputs: inputs.loss, losses };
        let loss = loss.blocks(&mut rec, x, dx);
        let loss_sum = rec.program();
        let params = grad_norm::LossSumParams { n: inputs.loss_plan.rows() as u32 };
        grad_norm::loss_sum(&mut rec, params, losses, inputs.loss_sum);

        let backward = rec.program();
        let mut dy = dx;
        for layer in (0..model.layers.len()).rev() {
            let acts = if checkpointing {
                pass.layer_activations(&mut rec, layer, layer_inputs[layer], Keys::OfPass)
            } else {
                kept[layer].clone()
            };
            let below = Backward { dy, wants_dx: layer > 0 };
            dy = pass.layer_backward(&mut rec, layer, &acts, below).unwrap_or(dy);
        }
        let optimize = rec.program();
        self.optimize(&mut rec);
        (rec, Programs { begin, begin_eval, forward, loss, loss_sum, backward, optimize })
    }

    fn optimize(&self, rec: &mut Recorder) {
        let Recording { lora, inputs, .. } = *self;
        let mut first = 0;
        for segment in &lora.segments {
            let params = grad_norm::SquaresParams { n: segment.len as u32, first: first as u32 };
            grad_norm::squares(rec, params, segment.grad, inputs.partials);
            first += grad_norm::partial_count(segment.len);
        }
        let stats = inputs.report.slice(4 * REPORT_STATS as u64, 4 * grad_norm::STATS as u64);
        let max_grad_norm = self.options.max_grad_norm as f32;
        grad_norm::finish(
            rec,
            grad_norm::FinishParams { count: first as u32, max_grad_norm },
            inputs.partials,
            inputs.loss_sum,
            stats,
        );
        for segment in &lora.segments {
            let update = adamw::Update {
                grad: segment.grad,
                stats,
                hyper: inputs.hyper,
                param: segment.param,
                m: segment.m,
                v: segment.v,
            };
            adamw::update(rec, adamw::Params { n: segment.len as u32 }, update);
        }
    }
}
