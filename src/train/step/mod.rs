//! A step as a list of programs: each way to make one records its own, and the trainer runs them.

mod backprop;
mod inputs;
mod loss;
mod mezo;
mod scores;

pub(super) use backprop::Backprop;
pub(super) use inputs::{Inputs, REPORT_BYTES, TALLY_VALUES};
pub(super) use mezo::Mezo;

use super::log::StepLog;
use super::objective::Objective;
use crate::device::Store;
use crate::kernels::Recorder;
use crate::memory::{ProgramId, Tensor};
use crate::model::{Model, Pass, Rows, Trained};

/// The programs of a recording, as a step and an evaluation run them.
#[derive(Clone)]
pub(super) struct Programs {
    pub(super) begin: Vec<ProgramId>,
    /// What every micro-batch goes through, one behind another.
    pub(super) train: Vec<LossPass>,
    pub(super) end: Vec<ProgramId>,
    /// The update of a step whose log is all that is left of it.
    pub(super) again: Vec<ProgramId>,
    /// What rounds a segment of the parameters, by its number, where these are masters of what passes read.
    pub(super) rounding: Vec<(usize, ProgramId)>,
    pub(super) begin_eval: Vec<ProgramId>,
    pub(super) evaluate: Vec<LossPass>,
    /// Those that only make log-probabilities of answers.
    pub(super) scores: Vec<(Passes, LossPass)>,
}

/// What rows go through the model for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passes {
    Train,
    Evaluate,
    /// The log-probabilities of answers by what learns.
    Score,
    /// The same by the model as it was loaded.
    Reference,
    /// The same of answers to other prompts.
    ReferenceOfOthers,
}

/// A pass over a micro-batch with the loss in its midst.
#[derive(Clone)]
pub(super) struct LossPass {
    pub(super) before: Vec<ProgramId>,
    /// By block of labelled rows; a micro-batch runs as many as it fills.
    pub(super) loss: Vec<ProgramId>,
    pub(super) after: Vec<ProgramId>,
}

impl LossPass {
    /// A pass with nothing behind its loss.
    fn new(before: ProgramId, loss: &[ProgramId]) -> Self {
        LossPass { before: vec![before], loss: loss.to_vec(), after: Vec::new() }
    }

    /// The same with a program behind it.
    fn then(mut self, after: ProgramId) -> Self {
        self.after.push(after);
        self
    }

    /// Those of a micro-batch that fills so many blocks.
    pub(super) fn programs(&self, blocks: usize) -> impl Iterator<Item = ProgramId> {
        [&self.before, &self.loss[..blocks], &self.after].into_iter().flatten().copied()
    }
}

impl Programs {
    /// Those of a micro-batch that fills so many blocks.
    pub(super) fn of(&self, passes: Passes, blocks: usize) -> Vec<ProgramId> {
        let scores = || self.scores.iter().filter(move |(own, _)| *own == passes).map(|(_, pass)| pass);
        let of: Vec<&LossPass> = match passes {
            Passes::Train => self.train.iter().collect(),
            Passes::Evaluate => self.evaluate.iter().collect(),
            Passes::Score | Passes::Reference | Passes::ReferenceOfOthers => scores().collect(),
        };
        of.into_iter().flat_map(|pass| pass.programs(blocks)).collect()
    }
}

/// All that a recording of the step depends on, besides its form.
pub(super) struct Recording<'a> {
    pub(super) model: &'a Model,
    pub(super) trained: &'a Trained,
    pub(super) inputs: &'a Inputs,
    pub(super) objective: &'a dyn Objective,
}

/// What recordings of one step differ in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// M.
    pub(super) tokens: usize,
    /// Whether backward computes activations again.
    pub(super) checkpointing: bool,
    /// The chance that an input of the adapter is dropped.
    pub(super) dropout: f64,
}

/// The number of a step's update and what it is made with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Update {
    /// Counted from zero.
    pub(super) step: u32,
    pub(super) learning_rate: f64,
    /// Counted from 1: where the step before was not applied, and where it was.
    pub(super) numbers: [u32; 2],
}

/// A way to make a step.
pub(super) trait Method {
    fn record(&self, recording: &Recording<'_>, form: Form) -> (Recorder, Programs);

    /// Whether it goes back through the model, which wants activations and may drop inputs of an adapter.
    fn goes_back(&self) -> bool {
        true
    }

    /// Writes what changes from step to step, before each.
    fn write(&self, store: &Store, update: Update);

    /// Writes what it wants to know of the texts of a micro-batch, before each.
    fn write_texts(&self, _: &Store, _: &Texts<'_>) {}

    /// Puts what the step's report says into its log, in which the objective's loss stands already.
    fn read(&self, report: &[f32], log: &mut StepLog);

    /// What it keeps of a segment of the parameters, by the names under which that is saved.
    fn kept(&self, segment: usize) -> Vec<(&'static str, Tensor)>;

    /// What it keeps beside that, by the names under which that is saved.
    fn kept_of_matrices(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// Whether updates can be made again from the log, so that the run's start and its log are all of it.
    fn is_made_again(&self) -> bool {
        false
    }

    /// Writes what the update of a logged step is made of, before [`Programs::again`].
    fn write_again(&self, _: &Store, _: &Inputs, _: &StepLog) {}
}

/// The texts of a micro-batch that have labels.
pub(super) struct Texts<'a> {
    /// Labelled tokens up to the end of each row.
    pub(super) ends: &'a [u32],
    /// How many rows of the whole step have labels.
    pub(super) in_step: usize,
}

impl Texts<'_> {
    /// For `labelled` tokens: of the last one of each text the first one, and the text's share in the step; u32::MAX and 0 for
    /// the others.
    fn last_labels(&self, labelled: usize) -> (Vec<u32>, Vec<f32>) {
        let (mut starts, mut shares) = (vec![u32::MAX; labelled], vec![0.0; labelled]);
        let mut start = 0;
        for &end in self.ends {
            if start < end {
                (starts[end as usize - 1], shares[end as usize - 1]) = (start, 1.0 / self.in_step as f32);
            }
            start = end;
        }
        (starts, shares)
    }
}

impl Recording<'_> {
    /// The model with what learns in its place.
    fn model(&self) -> &Model {
        self.trained.model(self.model)
    }

    /// The pass that is recorded over the rows of `form`.
    fn pass<'a>(&'a self, rows: &'a Rows, form: Form) -> Pass<'a> {
        let Recording { trained, inputs, .. } = *self;
        Pass {
            model: self.model(),
            lora: trained.lora.as_ref(),
            parameters: Some(&trained.parameters),
            rows,
            lora_scale: 1.0,
            dropout: (trained.dropout() > 0.0).then_some((form.dropout, inputs.dropout_seed)),
        }
    }
}
