//! A step of MeZO (Malladi et al. 2023, arXiv:2305.17333, algorithm 1): the loss on the same rows at both sides of the
//! parameters along a random direction, and an update along it by the slope between them. There is no backward pass.
//!
//! The parameters stay where they are while the losses are computed, because θ + εz − 2εz + εz is not θ in f32: passes
//! read moved ones beside them, which are made of a layer just before it reads them, since z is a function of its place. So
//! a run is its start and, for each step, a seed and the slopes, from which the update is made again to the bit.

use std::collections::HashMap;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::inputs::{Inputs, REPORT_STATS};
use super::{Form, LossPass, Method, Programs, Recording, Texts, Update};
use crate::device::Store;
use crate::error::Result;
use crate::kernels::Recorder;
use crate::kernels::mezo::{
    self, Hyper, MAX_SAMPLES, OF_SAMPLE, Place, STATS, STATS_FINITE, STATS_SAMPLES, Shift,
};
use crate::memory::{Class, ProgramId, Tensor};
use crate::model::{Keys, Loss, Moved, Parameters, Pass, Rows, Run, Segment, Stage, Trained, embedding};
use crate::train::log::{MezoLog, StepLog};
use crate::train::options::{MezoObjective, TrainOptions};

/// Values of a [`Shift`].
const SHIFT: usize = size_of::<Shift>() / 4;

pub(in crate::train) struct Mezo {
    eps: f64,
    samples: usize,
    weight_decay: f64,
    seed: u64,
    hyper: Tensor,
    /// What is moved, by segment of the parameters.
    segments: Vec<Moving>,
    /// How far the pass moves them that runs next: a copy of one of those below.
    shift: Tensor,
    /// Not at all, for evaluations.
    still: Tensor,
    /// By direction ahead, then by direction behind.
    shifts: Vec<Tensor>,
    /// The objective of each labelled token ahead of the parameters, while it is computed behind them.
    plus: Tensor,
    sums: Tensor,
    texts: Option<TextInputs>,
}

/// A segment of the parameters with what is beside it.
struct Moving {
    param: Tensor,
    decays: bool,
    len: usize,
    /// The matrices that lie there, and the same on the device.
    places: Vec<Place>,
    table: Tensor,
}

impl Moving {
    /// Records values of the segment moved as `shift` says, and returns these.
    fn record(&self, rec: &mut Recorder, run: &Run, shift: Tensor) -> Tensor {
        let (first, n) = (run.values.start as u32, run.values.len() as u32);
        let params = mezo::PerturbParams {
            n,
            first,
            first_place: self.places.partition_point(|place| place.end <= first) as u32,
            end_place: self.places.partition_point(|place| place.first < first + n) as u32,
        };
        let moved = rec.transient(n as usize);
        let own = self.param.slice(4 * u64::from(first), 4 * u64::from(n));
        mezo::perturb(rec, params, self.table, shift, own, moved);
        moved
    }
}

/// Where the objective counts texts rather than tokens.
struct TextInputs {
    /// Of the last labelled token of each text the first one.
    starts: Tensor,
    /// Of the same the share that the text has in the step.
    share: Tensor,
}

impl Mezo {
    pub(in crate::train) fn new(
        options: &TrainOptions,
        trained: &Trained,
        labelled: usize,
        store: &mut Store,
    ) -> Result<Self> {
        let mut segments = Vec::new();
        for (index, segment) in trained.parameters.segments().iter().enumerate() {
            let places = places(&trained.parameters, index);
            let table = store.keep(Class::Optimizer, "places", places.len() * size_of::<Place>() / 4)?;
            store.write(table, &places);
            let Segment { param, decays, len, .. } = *segment;
            segments.push(Moving { param, decays, len, places, table });
        }
        let samples = options.zo_num_samples as usize;
        let mut keep = |label: &str, elements: usize| store.keep(Class::Other, label, elements);
        let texts = match options.mezo_objective {
            MezoObjective::Loss => None,
            MezoObjective::ExactMatch => Some(TextInputs {
                starts: keep("text starts", labelled)?,
                share: keep("text share", labelled)?,
            }),
        };
        let mezo = Mezo {
            eps: options.zo_eps,
            samples,
            weight_decay: options.weight_decay,
            seed: options.seed,
            hyper: keep("mezo", size_of::<Hyper>() / 4)?,
            segments,
            shift: keep("shift", SHIFT)?,
            still: keep("shift of evaluations", SHIFT)?,
            shifts: (0..2 * samples).map(|_| keep("shift", SHIFT)).collect::<Result<_>>()?,
            plus: keep("losses ahead", labelled)?,
            sums: keep("sums of losses", OF_SAMPLE * MAX_SAMPLES)?,
            texts,
        };
        store.write(mezo.still, &[Shift::default()]);
        Ok(mezo)
    }

    /// Of the directions of a step, counted from zero.
    fn seed_of(&self, step: u32) -> u32 {
        xxh3_64_with_seed(&step.to_le_bytes(), self.seed) as u32
    }

    /// Records that the passes behind it move the parameters as `shift` says.
    fn record_shift(&self, rec: &mut Recorder, shift: Tensor) -> ProgramId {
        let program = rec.program();
        rec.copy(shift, self.shift);
        program
    }

    /// Records what a stage reads of the parameters, moved.
    fn record_move(&self, rec: &mut Recorder, parameters: &Parameters, moved: &mut Moved, stage: Stage) {
        let mut places = HashMap::new();
        for run in parameters.runs(&moved.tensors(stage)) {
            let values = self.segments[run.segment].record(rec, &run, self.shift);
            let place =
                |&(tensor, first): &(Tensor, usize)| (tensor, values.slice(4 * first as u64, tensor.size()));
            places.extend(run.tensors.iter().map(place));
        }
        moved.place(stage, places);
    }

    /// Records a pass up to the last layer's output, which it returns with the handles that read what is moved.
    fn record_forward(&self, rec: &mut Recorder, recording: &Recording<'_>, rows: &Rows) -> (Moved, Tensor) {
        let Recording { model: base, trained, .. } = *recording;
        let mut moved = trained.moved();
        let to = |rec: &mut Recorder, moved: &mut Moved, stage| {
            self.record_move(rec, &trained.parameters, moved, stage);
        };
        to(rec, &mut moved, Stage::Embedding);
        let mut x = embedding::embed(rec, moved.model(base), rows.ids, rows.count);
        for layer in 0..base.layers.len() {
            to(rec, &mut moved, Stage::Layer(layer));
            let pass = Pass {
                model: moved.model(base),
                lora: moved.lora.as_ref(),
                parameters: None,
                rows,
                lora_scale: 1.0,
                dropout: None,
            };
            pass.begin_layer(rec, layer);
            (_, x) = pass.layer_forward(rec, layer, x, Keys::OfPass);
        }
        to(rec, &mut moved, Stage::Head);
        (moved, x)
    }

    fn record_update(&self, rec: &mut Recorder, stats: Tensor) -> ProgramId {
        let program = rec.program();
        for Moving { param, decays, len, places, table } in &self.segments {
            let params = mezo::UpdateParams {
                n: *len as u32,
                places: places.len() as u32,
                samples: self.samples as u32,
                decays: u32::from(*decays),
            };
            mezo::update(rec, params, *table, self.hyper, stats, *param);
        }
        program
    }
}

impl Method for Mezo {
    fn record(&self, recording: &Recording<'_>, form: Form) -> (Recorder, Programs) {
        let Recording { trained, inputs, objective, .. } = *recording;
        let mut rec = Recorder::new();
        let begin = rec.program();
        rec.clear(self.sums);
        let begin_eval = rec.program();
        rec.clear(inputs.tally);
        let still = self.record_shift(&mut rec, self.still);
        let shifts: Vec<_> = self.shifts.iter().map(|&shift| self.record_shift(&mut rec, shift)).collect();

        let forward = rec.program();
        let rows = Rows { count: form.tokens, ..inputs.rows.clone() };
        let (moved, x) = self.record_forward(&mut rec, recording, &rows);
        let model = moved.model(recording.model);
        let plan = inputs.loss_plan;
        let [losses, misses] = [0; 2].map(|_| rec.transient(plan.rows()));
        rec.clear(losses);
        rec.clear(misses);
        let loss = Loss { model, plan, inputs: inputs.loss, parameters: &trained.parameters, losses };
        let blocks = loss.blocks_alone(&mut rec, x, misses);
        let tally = rec.program();
        objective.record(&mut rec, inputs, losses, inputs.loss.weight);

        let keep_plus = rec.program();
        let n = plan.rows() as u32;
        let of_texts = mezo::MissesParams { n };
        match &self.texts {
            None => rec.copy(losses, self.plus),
            Some(texts) => mezo::misses(&mut rec, of_texts, texts.starts, misses, self.plus),
        }
        let mut add = Vec::new();
        for sample in 0..self.samples as u32 {
            add.push(rec.program());
            let (weight, minus) = match &self.texts {
                None => (inputs.loss.weight, losses),
                Some(texts) => {
                    let minus = rec.transient(plan.rows());
                    mezo::misses(&mut rec, of_texts, texts.starts, misses, minus);
                    (texts.share, minus)
                }
            };
            mezo::losses(&mut rec, mezo::LossesParams { n, sample }, weight, self.plus, minus, self.sums);
        }
        let finish = rec.program();
        let params = mezo::FinishParams { samples: self.samples as u32, distance: (2.0 * self.eps) as f32 };
        mezo::finish(&mut rec, params, self.sums, inputs.stats(STATS));
        let update = self.record_update(&mut rec, inputs.stats(STATS));

        let at = |shift: ProgramId, after: ProgramId| LossPass {
            before: vec![shift, forward],
            loss: blocks.clone(),
            after: vec![after],
        };
        let (ahead, behind) = shifts.split_at(self.samples);
        let samples = ahead.iter().zip(behind).zip(add);
        let programs = Programs {
            begin: vec![begin],
            train: samples
                .flat_map(|((&ahead, &behind), add)| [at(ahead, keep_plus), at(behind, add)])
                .collect(),
            end: vec![finish, update],
            again: vec![update],
            rounding: Vec::new(),
            begin_eval: vec![begin_eval],
            evaluate: vec![at(still, tally)],
            scores: Vec::new(),
        };
        (rec, programs)
    }

    fn goes_back(&self) -> bool {
        false
    }

    fn write(&self, store: &Store, Update { step, learning_rate, .. }: Update) {
        let seed = self.seed_of(step);
        let hyper = Hyper::new(learning_rate, self.weight_decay, self.samples, seed);
        store.write(self.hyper, &[hyper]);
        let scales = [self.eps, -self.eps];
        let to = scales.into_iter().flat_map(|scale| (0..self.samples).map(move |sample| (sample, scale)));
        for (&shift, (sample, scale)) in self.shifts.iter().zip(to) {
            store.write(shift, &[Shift { seed, sample: sample as u32, scale: scale as f32, pad: 0 }]);
        }
    }

    fn write_texts(&self, store: &Store, texts: &Texts<'_>) {
        let Some(inputs) = &self.texts else { return };
        let (starts, share) = texts.last_labels(inputs.starts.size() as usize / 4);
        store.write(inputs.starts, &starts);
        store.write(inputs.share, &share);
    }

    fn read(&self, report: &[f32], log: &mut StepLog) {
        let stats = &report[REPORT_STATS..][..STATS];
        let of_samples = stats[STATS_SAMPLES..].as_chunks::<OF_SAMPLE>().0;
        let mean = |part: usize| {
            let sum: f64 = of_samples[..self.samples].iter().map(|sample| f64::from(sample[part])).sum();
            sum / self.samples as f64
        };
        let mezo = MezoLog {
            loss_plus: mean(0),
            loss_minus: mean(1),
            projected_grad: of_samples[..self.samples].iter().map(|sample| f64::from(sample[2])).collect(),
            zo_eps: self.eps,
            seed: self.seed_of(log.step - 1),
        };
        log.loss = (mezo.loss_plus + mezo.loss_minus) / 2.0;
        log.grad_norm = f64::NAN;
        log.skipped = stats[STATS_FINITE] != 1.0;
        log.mezo = Some(mezo);
    }

    fn kept(&self, _: usize) -> Vec<(&'static str, Tensor)> {
        Vec::new()
    }

    fn is_made_again(&self) -> bool {
        true
    }

    fn write_again(&self, store: &Store, inputs: &Inputs, log: &StepLog) {
        let Some(mezo) = &log.mezo else { return };
        let hyper = Hyper::new(log.learning_rate, self.weight_decay, self.samples, mezo.seed);
        store.write(self.hyper, &[hyper]);
        let mut stats = [0.0; STATS];
        stats[STATS_FINITE] = 1.0;
        let of_samples = stats[STATS_SAMPLES..].as_chunks_mut::<OF_SAMPLE>().0;
        for (stats, slope) in of_samples.iter_mut().zip(&mezo.projected_grad) {
            stats[2] = *slope as f32;
        }
        store.write(inputs.stats(STATS), &stats);
    }
}

/// The matrices and vectors that lie in a segment, in their order there.
fn places(parameters: &Parameters, segment: usize) -> Vec<Place> {
    let mut places = Vec::new();
    for entry in parameters.entries() {
        let [_, cols] = entry.size();
        let stream = xxh3_64(entry.name.as_bytes()) as u32;
        for place in entry.places.iter().filter(|place| place.segment == segment) {
            let (first, start, count) =
                (place.first as u32, place.rows.start as u32, place.rows.len() as u32);
            // The values of a vector lie one behind another, as those of a row do.
            let (stride, cols, rows, counter) = match place.stride {
                1 => (count.next_multiple_of(4), count, 1, start / 4),
                stride => (stride as u32, cols as u32, count, start * (cols as u32).div_ceil(4)),
            };
            let is_whole =
                [first, stride, if rows == 1 { start } else { 0 }].iter().all(|at| at.is_multiple_of(4));
            assert!(is_whole, "{} begins within four values", entry.name);
            places.push(Place {
                first,
                end: first + rows * stride,
                stride,
                cols,
                counter,
                stream,
                pads: [0; 2],
            });
        }
    }
    places.sort_by_key(|place| place.first);
    places
}
