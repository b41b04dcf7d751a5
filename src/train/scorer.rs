//! How likely a model finds texts: passes forward alone, recorded by themselves.

use serde::Serialize;

use super::batch::FlatBatch;
use super::planning::Sizes;
use super::step::{Inputs, LossPass, Passes};
use crate::data::encode::Encoded;
use crate::device::{Device, ReadbackRing, Store, Workspace};
use crate::error::Result;
use crate::kernels::Recorder;
use crate::kernels::lower::{Target, lower};
use crate::memory::{Class, Tensor};
use crate::model::{Lora, Loss, LossPlan, Model, Parameters, Pass, Rows, View};

/// Tokens that a pass takes, unless a text has more.
const TOKENS: usize = 512;

/// How likely a text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RowScore {
    /// The sum of the log-probabilities of its labelled tokens, in nats.
    pub logp: f64,
    /// Labelled tokens other than a first one, which nothing predicts.
    pub tokens: u64,
    /// How many of them have the greatest logit where they stand.
    pub hits: u64,
}

/// Passes of a model, with an adapter or without, over texts of up to a length.
pub struct Scorer {
    inputs: Inputs,
    sizes: Sizes,
    pass: LossPass,
    workspace: Workspace,
    views: Vec<View>,
    /// Of each labelled token the loss and whether it is missed, [2, labelled].
    told: Tensor,
    longest: usize,
    ring: ReadbackRing,
}

impl Scorer {
    /// Allocates and records passes over texts of up to `longest` tokens, which is work for [`Device::allocating`].
    pub fn new(
        (device, store): (&Device, &mut Store),
        (model, lora): (&Model, Option<&Lora>),
        target: &Target,
        longest: usize,
    ) -> Result<Self> {
        let tokens = TOKENS.max(longest).next_multiple_of(8);
        let plan = LossPlan::new(tokens, model.architecture.vocab.padded);
        let inputs = Inputs::new(store, model, false, tokens, plan, longest)?;
        // A binding can start at both halves.
        let half = plan.rows().next_multiple_of(64);
        let told = store.keep(Class::Other, "scores", 2 * half)?;
        let [losses, misses] = [0, 4 * half as u64].map(|at| told.slice(at, 4 * plan.rows() as u64));
        let sizes = Sizes::new(tokens, false);
        let (recordings, passes): (Vec<_>, Vec<_>) =
            sizes.tokens.iter().map(|&count| record((model, lora), &inputs, [losses, misses], count)).unzip();
        let workspace = Workspace::new(device, store, &lower(&recordings, target)?)?;
        inputs.write_ropes(store, model, longest);
        Ok(Scorer {
            inputs,
            sizes,
            pass: passes[0].clone(),
            workspace,
            views: model.architecture.views.clone(),
            ring: ReadbackRing::new(device, told.size(), 1),
            told,
            longest,
        })
    }

    /// Tokens of the longest text that it takes.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// How likely each of `texts` is. `go_on` is asked before each pass and hears of how many texts it is known; `None` where
    /// it says no.
    pub async fn score(
        &mut self,
        store: &Store,
        texts: &[Encoded],
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<RowScore>>> {
        let mut scores = Vec::with_capacity(texts.len());
        let mut rest = texts;
        while !rest.is_empty() {
            if !go_on(scores.len()) {
                return Ok(None);
            }
            let (now, later) = rest.split_at(self.fitting(rest));
            let scored = now.iter().map(Encoded::targets).sum::<usize>();
            match scored {
                0 => scores.extend(now.iter().map(|_| RowScore::default())),
                _ => self.pass_over(store, now, &mut scores).await?,
            }
            rest = later;
        }
        Ok(Some(scores))
    }

    /// How many of the first texts fit a pass, at least one.
    fn fitting(&self, texts: &[Encoded]) -> usize {
        let mut tokens = 0;
        let fits = |text: &&Encoded| {
            tokens += text.ids.len().saturating_sub(1);
            tokens <= self.sizes.tokens[0]
        };
        texts.iter().take_while(fits).count().max(1)
    }

    async fn pass_over(
        &mut self,
        store: &Store,
        texts: &[Encoded],
        scores: &mut Vec<RowScore>,
    ) -> Result<()> {
        let batch = FlatBatch::new(texts, &self.views);
        let ends = batch.ends.clone();
        let (size, recording) = self.sizes.holding(batch.ids.len(), Passes::Score);
        let block = self.inputs.loss_plan.block;
        let blocks = batch.index.len().div_ceil(block);
        let seen = self.inputs.write(store, batch, [size, blocks * block], 0.0, None);
        let programs: Vec<_> = self.pass.programs(blocks).collect();
        self.workspace.run_seeing(&programs, recording, seen);
        let readback = self.ring.start(store, self.told);
        let told: Vec<f32> = self.ring.finish(readback).await?;
        let (losses, misses) = told.split_at(told.len() / 2);
        let mut start = 0;
        for end in ends {
            let own = start as usize..end as usize;
            let sum = |values: &[f32]| values.iter().copied().map(f64::from).sum::<f64>();
            let tokens = own.len() as u64;
            let hits = tokens - sum(&misses[own.clone()]) as u64;
            scores.push(RowScore { logp: -sum(&losses[own]), tokens, hits });
            start = end;
        }
        Ok(())
    }
}

/// Records one size: the losses of labelled tokens and which of them are missed.
fn record(
    (model, lora): (&Model, Option<&Lora>),
    inputs: &Inputs,
    [losses, misses]: [Tensor; 2],
    count: usize,
) -> (Recorder, LossPass) {
    let mut rec = Recorder::new();
    let forward = rec.program();
    let rows = Rows { count, ..inputs.rows.clone() };
    let pass = Pass { model, lora, parameters: None, rows: &rows, lora_scale: 1.0, dropout: None };
    pass.begin(&mut rec);
    let x = pass.forward(&mut rec);
    rec.clear(losses);
    rec.clear(misses);
    let nothing = Parameters::default();
    let loss = Loss { model, plan: inputs.loss_plan, inputs: inputs.loss, parameters: &nothing, losses };
    let blocks = loss.blocks_alone(&mut rec, x, misses);
    (rec, LossPass { before: vec![forward], loss: blocks, after: Vec::new() })
}
