//! Odds ratio preference optimisation; see [`preference::orpo`].

use super::answers::{Answers, OF_PAIRS, read};
use super::{Capacity, Fetched, InStep, Objective, Part, of_row};
use crate::data::tokens::RowIndex;
use crate::device::Store;
use crate::error::Result;
use crate::kernels::Recorder;
use crate::kernels::preference::{self, LOG_ODDS_CHOSEN, LOG_ODDS_RATIO, NLL, OrpoParams};
use crate::memory::Tensor;
use crate::train::batch::FlatBatch;
use crate::train::log::Metrics;
use crate::train::options::TrainOptions;
use crate::train::step::Inputs;

struct Orpo {
    params: OrpoParams,
    answers: Answers,
}

pub(super) fn keep(
    options: &TrainOptions,
    store: &mut Store,
    capacity: Capacity,
) -> Result<Box<dyn Objective>> {
    let params = OrpoParams { beta: options.preference.beta as f32 };
    Ok(Box::new(Orpo { params, answers: Answers::new(store, capacity)? }))
}

/// Chosen sequences, which come first of each pair, are scored from their beginning.
pub(super) fn extents(index: &RowIndex, row: u32) -> Vec<[usize; 2]> {
    let [tokens, scored] = of_row(index, row)[0];
    vec![[tokens, if row.is_multiple_of(2) { tokens } else { scored }]]
}

impl Objective for Orpo {
    fn parts(&self, rows: Vec<Fetched>) -> Vec<Part> {
        let mut part = Answers::pairs(rows, Vec::new());
        part.rows.iter_mut().step_by(2).for_each(|chosen| chosen.labelled.fill(true));
        vec![part]
    }

    fn write(&self, store: &Store, part: &Part, flat: &FlatBatch, in_step: &InStep) {
        self.answers.write(store, (part, flat), part.answers.len() / 2, in_step, None);
    }

    fn record(&self, rec: &mut Recorder, inputs: &Inputs, losses: Tensor, weights: Tensor) {
        self.answers.judge(rec, inputs, (losses, weights), |rec, pairs| {
            preference::orpo(rec, self.params, pairs);
        });
    }

    fn read(&self, tally: &[f64], _: u64) -> (f64, Metrics) {
        read(tally, &[&OF_PAIRS[..], &[NLL, LOG_ODDS_RATIO, LOG_ODDS_CHOSEN]].concat())
    }
}
