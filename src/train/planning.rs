//! What a run will record and how many bytes it takes, before anything is allocated.

use serde::Serialize;

use super::objective::{Capacity, Kind, Objective};
use super::options::{GradientCheckpointing, Optim, TrainOptions};
use super::step::{Backprop, Form, Inputs, Method, Mezo, Passes, Programs, REPORT_BYTES, Recording};
use crate::data::batches::BatchPlan;
use crate::data::notice::Notice;
use crate::data::tokens::Selection;
use crate::device::{Lowered, ReadbackRing, Store};
use crate::error::Result;
use crate::kernels::Recorder;
use crate::kernels::lower::{Target, lower};
use crate::memory::Class;
use crate::model::{LossPlan, Model, Trained};

/// The bytes of a run on its device up to which activations are kept rather than computed again.
const KEEP_ACTIVATIONS_BYTES: u64 = 512 << 20;
/// Sizes that a micro-batch is rounded up to, so that short ones cost less.
const SIZES: usize = 16;
/// Steps whose results are on their way while the next one is prepared. AdamW's update is chosen from two, so there
/// may be one before the step that is submitted.
pub(super) const IN_FLIGHT: usize = 2;
/// Micro-batches of an evaluation whose results are on their way.
pub(super) const EVALS_IN_FLIGHT: usize = 1;

/// Bytes of a run on its device, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GpuBytes {
    pub weights: u64,
    pub adapter: u64,
    pub optimizer: u64,
    pub activations: u64,
    pub other: u64,
}

/// What a run takes on its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Footprint {
    /// Every byte on the device once the run is prepared, weights included.
    pub peak_gpu_bytes: u64,
    pub gpu_bytes: GpuBytes,
    /// Whether backward computes activations again.
    pub checkpointing: bool,
    /// The most tokens of a micro-batch that are computed: all but the last of each row.
    pub tokens_per_step_max: usize,
}

const KEPT: [Class; 4] = [Class::Weights, Class::Adapter, Class::Optimizer, Class::Other];

/// A run as it will be recorded. Its inputs and outputs are kept in a store, which may be one that only
/// counts.
pub struct RunPlan {
    pub(super) batches: BatchPlan,
    pub(super) method: Box<dyn Method>,
    pub(super) objective: Box<dyn Objective>,
    pub(super) inputs: Inputs,
    /// Tokens of the longest row.
    pub(super) longest: usize,
    pub(super) sizes: Sizes,
    pub(super) checkpointing: bool,
    pub(super) lowered: Lowered,
    pub(super) programs: Programs,
}

/// The recordings of a step, which differ in size and, where there is dropout, in that.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    /// M of each, largest first.
    pub(super) tokens: Vec<usize>,
    /// Whether all sizes are there once more, without dropout.
    are_twice: bool,
}

impl Sizes {
    pub(super) fn new(tokens: usize, are_twice: bool) -> Self {
        let mut sizes: Vec<usize> =
            (1..=SIZES).rev().map(|i| (tokens * i / SIZES).max(1).next_multiple_of(8)).collect();
        sizes.dedup();
        Sizes { tokens: sizes, are_twice }
    }

    /// The largest M.
    fn largest(&self) -> usize {
        self.tokens[0]
    }

    /// The smallest size that holds so many tokens: its M, and which recording has it.
    pub(super) fn holding(&self, tokens: usize, passes: Passes) -> (usize, usize) {
        let size = self.tokens.iter().rposition(|&size| size >= tokens).unwrap_or(0);
        let without_dropout = self.are_twice && passes != Passes::Train;
        (self.tokens[size], size + if without_dropout { self.tokens.len() } else { 0 })
    }
}

/// The longest row in tokens.
fn longest_row(dataset: &Selection, eval_dataset: Option<&Selection>) -> usize {
    let chosen = [Some(dataset), eval_dataset].into_iter().flatten();
    chosen.map(|chosen| chosen.set.report.longest as usize).max().unwrap_or(0)
}

/// Which rows each step takes.
fn batches(options: &TrainOptions, dataset: &Selection) -> Result<BatchPlan> {
    BatchPlan::new(&dataset.rows, &dataset.set.index.lengths, options.batch_options())
}

impl RunPlan {
    /// Whether the rows can be trained on at all, and what is worth knowing of them, before anything is recorded or
    /// freed. Rows past the positions that a model was made for are computed, as in transformers: every kind of RoPE
    /// has angles for them.
    ///
    /// # Errors
    ///
    /// `bad-data` for a dataset without rows.
    pub fn check(
        model: &Model,
        options: &TrainOptions,
        dataset: &Selection,
        eval_dataset: Option<&Selection>,
    ) -> Result<Option<Notice>> {
        batches(options, dataset)?;
        let longest = longest_row(dataset, eval_dataset);
        let context = model.architecture.context;
        let message = format!(
            "the longest row has {longest} tokens, and the model was made for {context} by its config.json: positions \
             after that are trained on as they are, but the model has not learnt them; set train.max_length to \
             {context} to have rows cut there"
        );
        Ok((longest > context).then(|| Notice::new("rows-beyond-context", message)))
    }

    /// Plans and records the run for `target`.
    ///
    /// # Errors
    ///
    /// `bad-data` for a dataset without rows; `out-of-memory`, naming what is larger than one buffer.
    pub fn new(
        store: &mut Store,
        model: &Model,
        trained: &mut Trained,
        target: &Target,
        options: &TrainOptions,
        dataset: &Selection,
        eval_dataset: Option<&Selection>,
    ) -> Result<Self> {
        let batches = batches(options, dataset)?;
        let kind = Kind::of(options.method);
        let extent = Extent::of(&batches, dataset, eval_dataset, options, &kind);
        let longest = (kind.longest)(longest_row(dataset, eval_dataset), options);
        let tokens = extent.tokens.next_multiple_of(8);
        let vocab = model.architecture.vocab.padded;
        let (method, loss_plan): (Box<dyn Method>, LossPlan) = match options.optim {
            Optim::Mezo => {
                let plan = LossPlan::alone(extent.targets, vocab);
                (Box::new(Mezo::new(options, trained, plan.rows(), store)?), plan)
            }
            _ => {
                let method = Backprop::new(options, &mut trained.parameters, store)?;
                let plan = if trained.head_learns(model) { LossPlan::whole } else { LossPlan::new };
                (Box::new(method), plan(extent.targets, vocab))
            }
        };
        let trained = &*trained;
        let order = trained.embedding_learns(model);
        let inputs = Inputs::new(store, model, order, tokens, loss_plan, longest)?;
        let capacity = Capacity { rows: extent.rows, scored: loss_plan.rows() };
        let objective = (kind.keep)(options, store, capacity)?;
        let recording = Recording { model, trained, inputs: &inputs, objective: &*objective };
        let record = |checkpointing: bool, tokens: usize, dropout: f64| {
            method.record(&recording, Form { tokens, checkpointing, dropout })
        };
        let drops = method.goes_back() && objective.allows_dropout();
        let dropout = if drops { trained.dropout() } else { 0.0 };
        let kept: u64 = KEPT.into_iter().map(|class| store.bytes(class)).sum();
        let checkpointing = match options.gradient_checkpointing {
            _ if !method.goes_back() => false,
            GradientCheckpointing::On => true,
            GradientCheckpointing::Off => false,
            GradientCheckpointing::Auto => {
                let (recorder, _) = record(false, tokens, dropout);
                kept + lower(&[recorder], target)?.plan().bytes() > KEEP_ACTIVATIONS_BYTES
            }
        };
        // Evaluation is the same recording with dropout at zero.
        let chances = if dropout > 0.0 { vec![dropout, 0.0] } else { vec![0.0] };
        let sizes = Sizes::new(tokens, chances.len() > 1);
        let (recordings, programs): (Vec<Recorder>, Vec<Programs>) = chances
            .iter()
            .flat_map(|&dropout| sizes.tokens.iter().map(move |&size| (size, dropout)))
            .map(|(size, dropout)| record(checkpointing, size, dropout))
            .unzip();
        let programs = programs[0].clone();
        let lowered = lower(&recordings, target)?;
        Ok(RunPlan { batches, method, objective, inputs, longest, sizes, checkpointing, lowered, programs })
    }

    /// What the run will take on its device, whose kept tensors are those of `store`.
    pub fn footprint(&self, store: &Store) -> Footprint {
        let [weights, adapter, optimizer, inputs] = KEPT.map(|class| store.bytes(class));
        let activations = self.lowered.plan().bytes();
        let staging = ReadbackRing::bytes(&self.lowered, REPORT_BYTES, IN_FLIGHT + EVALS_IN_FLIGHT);
        let other = inputs + self.lowered.params_bytes() + staging + store.device_bytes();
        Footprint {
            peak_gpu_bytes: weights + adapter + optimizer + activations + other,
            gpu_bytes: GpuBytes { weights, adapter, optimizer, activations, other },
            checkpointing: self.checkpointing,
            tokens_per_step_max: self.sizes.largest(),
        }
    }
}

/// The most that a part of a micro-batch can have.
struct Extent {
    rows: usize,
    /// Tokens that are computed.
    tokens: usize,
    /// Tokens with a loss.
    targets: usize,
}

impl Extent {
    fn of(
        batches: &BatchPlan,
        dataset: &Selection,
        eval_dataset: Option<&Selection>,
        options: &TrainOptions,
        kind: &Kind,
    ) -> Self {
        let size = options.rows_per_micro_batch();
        let most = |of_row: &dyn Fn(&Selection, u32) -> usize| {
            let held_out = eval_dataset.and_then(|selection| {
                let sum = |rows: &[u32]| rows.iter().map(|&row| of_row(selection, row)).sum();
                selection.rows.chunks(size).map(sum).max()
            });
            batches.most(|row| of_row(dataset, row)).max(held_out.unwrap_or(0))
        };
        let extents = |selection: &Selection, row: u32| (kind.extents)(&selection.set.index, row);
        let mut extent = Extent { rows: most(&|_, _| 1), tokens: 0, targets: 0 };
        for part in 0..extents(dataset, 0).len() {
            let [tokens, targets] = [0, 1].map(|of| most(&|set, row| extents(set, row)[part][of]));
            (extent.tokens, extent.targets) = (extent.tokens.max(tokens), extent.targets.max(targets));
        }
        extent
    }
}
