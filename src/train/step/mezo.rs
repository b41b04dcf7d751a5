//! A step of MeZO (Malladi et al. 2023, arXiv:2305.17333, algorithm 1): the loss on the same rows at both sides of the
//! parameters along a random direction, and an update along it by the slope between them. There is no backward pass.
//!
//! The parameters stay where they are while the losses are computed, because θ + εz − 2εz + εz is not θ in f32: passes
//! read moved ones beside them. So a run is its start and, for each step, a seed and the slopes, from which the update is
//! made again to the bit.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::inputs::{Inputs, REPORT_STATS};
use super::{Form, LossPass, Method, Programs, Recording, Texts, Update};
use crate::device::Store;
use crate::error::Result;
use crate::kernels::Recorder;
use crate::kernels::mezo::{self, Hyper, MAX_SAMPLES, OF_SAMPLE, Place, STATS, STATS_FINITE, STATS_SAMPLES};
use crate::memory::{Class, ProgramId, Tensor};
use crate::model::{Loss, Moved, Parameters, Pass, Rows, Trained};
use crate::train::log::{MezoLog, StepLog};
use crate::train::options::{MezoObjective, TrainOptions};

pub(in crate::train) struct Mezo {
    eps: f64,
    samples: usize,
    weight_decay: f64,
    seed: u64,
    hyper: Tensor,
    /// What is moved, by segment of the parameters.
    segments: Vec<Moving>,
    moved: Moved,
    /// The objective of each labelled token ahead of the parameters, while it is computed behind them.
    plus: Tensor,
    sums: Tensor,
    texts: Option<TextInputs>,
}

/// A segment of the parameters with what is beside it.
struct Moving {
    param: Tensor,
    moved: Tensor,
    decays: bool,
    len: usize,
    /// The matrices that lie there.
    places: Tensor,
    count: usize,
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
            let of_segment = places(&trained.parameters, index);
            let table = store.keep(Class::Optimizer, "places", of_segment.len() * size_of::<Place>() / 4)?;
            store.write(table, &of_segment);
            segments.push(Moving {
                param: segment.param,
                moved: store.keep(Class::Optimizer, &format!("moved {}", segment.name), segment.len)?,
                decays: segment.decays,
                len: segment.len,
                places: table,
                count: of_segment.len(),
            });
        }
        let moved: Vec<Tensor> = segments.iter().map(|segment| segment.moved).collect();
        let mut keep = |label: &str, elements: usize| store.keep(Class::Other, label, elements);
        let texts = match options.mezo_objective {
            MezoObjective::Loss => None,
            MezoObjective::ExactMatch => Some(TextInputs {
                starts: keep("text starts", labelled)?,
                share: keep("text share", labelled)?,
            }),
        };
        Ok(Mezo {
            eps: options.zo_eps,
            samples: options.zo_num_samples as usize,
            weight_decay: options.weight_decay,
            seed: options.seed,
            hyper: keep("mezo", size_of::<Hyper>() / 4)?,
            moved: trained.moved(&moved),
            segments,
            plus: keep("losses ahead", labelled)?,
            sums: keep("sums of losses", OF_SAMPLE * MAX_SAMPLES)?,
            texts,
        })
    }

    /// Of the directions of a step, counted from zero.
    fn seed_of(&self, step: u32) -> u32 {
        xxh3_64_with_seed(&step.to_le_bytes(), self.seed) as u32
    }

    /// Records passes reading the parameters moved by `scale` along a direction.
    fn record_move(&self, rec: &mut Recorder, sample: usize, scale: f64) -> ProgramId {
        let program = rec.program();
        for &Moving { param, moved, len, places, count, .. } in &self.segments {
            let params = mezo::PerturbParams {
                n: len as u32,
                places: count as u32,
                sample: sample as u32,
                scale: scale as f32,
            };
            mezo::perturb(rec, params, places, self.hyper, param, moved);
        }
        program
    }

    fn record_update(&self, rec: &mut Recorder, stats: Tensor) -> ProgramId {
        let program = rec.program();
        for &Moving { param, decays, len, places, count, .. } in &self.segments {
            let params = mezo::UpdateParams {
                n: len as u32,
                places: count as u32,
                samples: self.samples as u32,
                decays: u32::from(decays),
            };
            mezo::update(rec, params, places, self.hyper, stats, param);
        }
        program
    }
}

impl Method for Mezo {
    fn record(&self, recording: &Recording<'_>, form: Form) -> (Recorder, Programs) {
        let Recording { trained, inputs, objective, .. } = *recording;
        let model = self.moved.model(recording.model);
        let mut rec = Recorder::new();
        let begin = rec.program();
        rec.clear(self.sums);
        let begin_eval = rec.program();
        rec.clear(inputs.tally);
        for segment in &self.segments {
            rec.copy(segment.param, segment.moved);
        }
        let ahead: Vec<_> =
            (0..self.samples).map(|sample| self.record_move(&mut rec, sample, self.eps)).collect();
        let behind: Vec<_> =
            (0..self.samples).map(|sample| self.record_move(&mut rec, sample, -self.eps)).collect();

        let forward = rec.program();
        let rows = Rows { count: form.tokens, ..inputs.rows.clone() };
        let pass = Pass {
            model,
            lora: self.moved.lora.as_ref(),
            parameters: None,
            rows: &rows,
            lora_scale: 1.0,
            dropout: None,
        };
        pass.begin(&mut rec);
        let x = pass.forward(&mut rec);
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

        let at = |moved: ProgramId, after: ProgramId| LossPass {
            before: vec![moved, forward],
            loss: blocks.clone(),
            after: vec![after],
        };
        let samples = ahead.into_iter().zip(behind).zip(add);
        let programs = Programs {
            begin: vec![begin],
            train: samples
                .flat_map(|((ahead, behind), add)| [at(ahead, keep_plus), at(behind, add)])
                .collect(),
            end: vec![finish, update],
            again: vec![update],
            rounding: Vec::new(),
            begin_eval: vec![begin_eval],
            evaluate: vec![LossPass { before: vec![forward], loss: blocks.clone(), after: vec![tally] }],
            scores: Vec::new(),
        };
        (rec, programs)
    }

    fn goes_back(&self) -> bool {
        false
    }

    fn write(&self, store: &Store, Update { step, learning_rate, .. }: Update) {
        let hyper = Hyper::new(learning_rate, self.weight_decay, self.samples, self.seed_of(step));
        store.write(self.hyper, &[hyper]);
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
