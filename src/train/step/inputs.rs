//! What the host fills in before a pass, and what it reads after a step.

use crate::device::Store;
use crate::error::Result;
use crate::kernels::attention;
use crate::memory::{Class, Tensor};
use crate::model::{LossInputs, LossPlan, Model, RopeTables, Rows, RowsSeen};
use crate::train::batch::FlatBatch;

/// The report of a step: what the objective adds up at 0, what the method says at 64.
const REPORT_VALUES: usize = 128;
pub(in crate::train) const REPORT_BYTES: u64 = 4 * REPORT_VALUES as u64;
pub(super) const REPORT_STATS: usize = 64;
pub(in crate::train) const TALLY_VALUES: usize = REPORT_STATS;

/// The kept tensors that the host fills before a pass.
pub(in crate::train) struct Inputs {
    pub(in crate::train) rows: Rows,
    /// The rows by token id, where the embedding learns; see [`embedding::backward`](crate::kernels::embedding::backward).
    pub(in crate::train) order: Option<Tensor>,
    pub(in crate::train) loss: LossInputs,
    pub(in crate::train) loss_plan: LossPlan,
    /// What the objective adds up over micro-batches, the loss first; [`TALLY_VALUES`].
    pub(in crate::train) tally: Tensor,
    /// The first of these.
    pub(in crate::train) loss_sum: Tensor,
    pub(in crate::train) dropout_seed: Tensor,
    pub(in crate::train) report: Tensor,
}

impl Inputs {
    pub(in crate::train) fn new(
        store: &mut Store,
        model: &Model,
        wants_order: bool,
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
        let order = wants_order.then(|| keep("rows by id", tokens)).transpose()?;
        let report = keep("report", REPORT_VALUES)?;
        let loss = LossInputs {
            index: keep("label index", loss_plan.rows())?,
            targets: keep("targets", loss_plan.rows())?,
            weight: keep("row weight", loss_plan.rows())?,
        };
        Ok(Inputs {
            rows,
            order,
            loss,
            loss_plan,
            tally: report.slice(0, 4 * TALLY_VALUES as u64),
            loss_sum: report.slice(0, 16),
            dropout_seed: keep("dropout seed", 1)?,
            report,
        })
    }

    /// Writes the angles of all positions, for texts of up to `longest` tokens.
    pub(in crate::train) fn write_ropes(&self, store: &Store, model: &Model, longest: usize) {
        for (rope, tables) in model.architecture.ropes.iter().zip(&self.rows.ropes) {
            let (cos, sin) = rope.table(longest, longest);
            store.write(tables.cos, &cos);
            store.write(tables.sin, &sin);
        }
    }

    /// Writes a batch, filled up to `tokens` tokens and to `labelled` labelled ones, of which each weighs `weight`; returns the
    /// share of the pairs of rows and keys that its spans let through. Of `padding_id`, see
    /// [`Architecture::padding_id`](crate::model::Architecture::padding_id).
    pub(in crate::train) fn write(
        &self,
        store: &Store,
        mut batch: FlatBatch,
        [tokens, labelled]: [usize; 2],
        weight: f32,
        padding_id: Option<u32>,
    ) -> f64 {
        let (real, scored) = (batch.ids.len(), batch.index.len());
        batch.pad(tokens, labelled);
        let weights: Vec<f32> = (0..labelled).map(|i| if i < scored { weight } else { 0.0 }).collect();
        let Inputs { rows, loss, .. } = self;
        store.write(rows.ids, &batch.ids);
        store.write(rows.positions, &batch.positions);
        if let Some(order) = self.order {
            store.write(order, &batch.order(real, padding_id));
        }
        for (place, seen) in rows.views.iter().zip(&batch.seen) {
            store.write(place.spans, &seen.spans);
            store.write(place.last, &seen.last);
        }
        store.write(loss.index, &batch.index);
        store.write(loss.targets, &batch.targets);
        store.write(loss.weight, &weights);
        // Submits are cut as if every layer had the widest view.
        let pairs = attention::pairs(tokens);
        let shares = batch.seen.iter().map(|seen| attention::share_seen(&seen.spans, pairs));
        shares.fold(0.0, f64::max)
    }

    /// The part of the report that holds `values` of what the method says of a step.
    pub(super) fn stats(&self, values: usize) -> Tensor {
        self.report.slice(4 * REPORT_STATS as u64, 4 * values as u64)
    }
}
