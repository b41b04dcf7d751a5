//! Objectives over whole answers: what they weigh is known once the log-probabilities of their tokens are.
//!
//! The loss leaves −log p of each scored token and its gradient for weight 1. [`sums`] adds these up by sequence, an objective
//! makes of the sums what each sequence weighs, and [`spread`] brings that back to the tokens.

use bytemuck::{Pod, Zeroable};

use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

/// An answer behind its prompt, among the scored tokens of a micro-batch. Of pairs, answer 2 i is the chosen one and 2 i + 1
/// the rejected one of pair i.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Sequence {
    /// Its first scored token. Those before `answer` belong to the prompt.
    pub start: u32,
    pub answer: u32,
    pub end: u32,
    /// Tokens of the answer, one that nothing predicts too.
    pub tokens: u32,
    /// 1 for an answer to be wished for, else 0.
    pub is_good: u32,
}

/// What is known of a micro-batch before its forward pass.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Batch {
    /// Pairs, or answers where they are rated one by one.
    pub count: u32,
    /// What the micro-batch weighs in its step.
    pub share: f32,
    /// Scored tokens of all chosen answers.
    pub tokens: f32,
}

/// What an objective adds to a tally: of each measure the sum of its values over micro-batches, and how many these are.
pub const MEASURES: usize = 11;
pub const LOSS: usize = 0;
pub const REWARDS_CHOSEN: usize = 1;
pub const REWARDS_REJECTED: usize = 2;
pub const ACCURACIES: usize = 3;
pub const MARGINS: usize = 4;
pub const LOGPS_CHOSEN: usize = 5;
pub const LOGPS_REJECTED: usize = 6;
pub const NLL: usize = 7;
pub const LOG_ODDS_RATIO: usize = 8;
pub const LOG_ODDS_CHOSEN: usize = 9;
pub const KL: usize = 10;

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct SumsParams {
    pub sequences: u32,
}

/// For each of `sequences` ([`Sequence`]): `logps` [sequences] is the log-probability of its answer, `nlls` [sequences] the
/// sum of the losses of all its scored tokens, both of `losses`, which are −log p. The order of the sums does not depend on
/// where a sequence lies.
pub fn sums(
    rec: &mut Recorder,
    params: SumsParams,
    sequences: Tensor,
    losses: Tensor,
    logps: Tensor,
    nlls: Tensor,
) {
    let bindings = [read(sequences), read(losses), write(logps), write(nlls)];
    rec.call(Kernel::PreferenceSums, &params, &bindings);
}

pub(super) fn lower_sums(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("preference_sums", |params: &SumsParams| {
        (grid(params.sequences as usize), 256 * u64::from(params.sequences))
    })
}

/// What the objectives of pairs read and write.
#[derive(Clone, Copy, Debug)]
pub struct Pairs {
    /// [`Sequence`]s.
    pub sequences: Tensor,
    /// A [`Batch`].
    pub batch: Tensor,
    /// From [`sums`].
    pub logps: Tensor,
    pub nlls: Tensor,
    /// By sequence, what a token of the answer weighs beside every scored one, and what every scored one weighs.
    pub weights: Tensor,
    /// [[`MEASURES`], 2], which grows.
    pub tally: Tensor,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct DpoParams {
    pub beta: f32,
    pub label_smoothing: f32,
    /// What each kind of loss weighs; 0 for those that have no part.
    pub sigmoid: f32,
    pub hinge: f32,
    pub ipo: f32,
    pub robust: f32,
    pub apo_zero: f32,
    pub apo_down: f32,
    pub sft: f32,
}

/// Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290, equation 7) and the losses that TRL has beside
/// it: hinge (SLiC, arXiv:2305.10425), IPO (arXiv:2310.12036, of log-probabilities by token), robust (arXiv:2403.00409), APO
/// (arXiv:2408.06266), and the chosen answers' own likelihood. `reference` [sequences] are the answers' log-probabilities
/// by the reference.
pub fn dpo(rec: &mut Recorder, params: DpoParams, reference: Tensor, of: Pairs) {
    let Pairs { sequences, batch, logps, nlls, weights, tally } = of;
    let bindings = [
        read(sequences),
        read(batch),
        read(logps),
        read(nlls),
        read(reference),
        write(weights),
        write(tally),
    ];
    rec.call(Kernel::PreferenceDpo, &params, &bindings);
}

pub(super) fn lower_dpo(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("preference_dpo", |_: &DpoParams| (grid(1), 1 << 10))
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct OrpoParams {
    pub beta: f32,
}

/// Odds ratio preference optimisation (Hong et al. 2024, arXiv:2403.07691, equations 6 and 7).
pub fn orpo(rec: &mut Recorder, params: OrpoParams, of: Pairs) {
    rec.call(Kernel::PreferenceOrpo, &params, &without_reference(of));
}

pub(super) fn lower_orpo(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("preference_orpo", |_: &OrpoParams| (grid(1), 1 << 10))
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct CpoParams {
    pub beta: f32,
    /// The margin γ that SimPO wants, 0 in CPO.
    pub gamma: f32,
    /// What the chosen answers' own likelihood weighs.
    pub alpha: f32,
    pub label_smoothing: f32,
    /// 1 for log-probabilities by token, as SimPO has them, 0 for those of whole answers.
    pub by_token: u32,
}

/// Contrastive preference optimisation (Xu et al. 2024, arXiv:2401.08417, equation 5) and, by token and with a margin, SimPO
/// (Meng et al. 2024, arXiv:2405.14734, equation 6).
pub fn cpo(rec: &mut Recorder, params: CpoParams, of: Pairs) {
    rec.call(Kernel::PreferenceCpo, &params, &without_reference(of));
}

pub(super) fn lower_cpo(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("preference_cpo", |_: &CpoParams| (grid(1), 1 << 10))
}

fn without_reference(of: Pairs) -> [crate::memory::Binding; 6] {
    let Pairs { sequences, batch, logps, nlls, weights, tally } = of;
    [read(sequences), read(batch), read(logps), read(nlls), write(weights), write(tally)]
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct KtoParams {
    pub beta: f32,
    pub desirable_weight: f32,
    pub undesirable_weight: f32,
}

/// What [`kto`] reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct Rated {
    /// [`Sequence`]s.
    pub sequences: Tensor,
    /// A [`Batch`].
    pub batch: Tensor,
    /// From [`sums`], and the same by the reference.
    pub logps: Tensor,
    pub reference: Tensor,
    /// The same of answers that do not belong to their prompts.
    pub kl_logps: Tensor,
    pub kl_reference: Tensor,
    /// As in [`Pairs`].
    pub weights: Tensor,
    pub tally: Tensor,
}

/// Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv:2402.01306, equation 7), whose divergence is the mean over the
/// micro-batch's answers to other prompts, at least 0, and has no gradient.
pub fn kto(rec: &mut Recorder, params: KtoParams, of: Rated) {
    let bindings = [
        read(of.sequences),
        read(of.batch),
        read(of.logps),
        read(of.reference),
        read(of.kl_logps),
        read(of.kl_reference),
        write(of.weights),
        write(of.tally),
    ];
    rec.call(Kernel::PreferenceKto, &params, &bindings);
}

pub(super) fn lower_kto(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("preference_kto", |_: &KtoParams| (grid(1), 1 << 10))
}

/// The owner of a token that counts for nothing.
pub const NOBODY: u32 = u32::MAX;

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct SpreadParams {
    pub n: u32,
}

/// `out` [n] is what each scored token weighs by `weights` [sequences, 2]. `owners` [n] are 2 · its sequence, and 1 more for
/// a token of the answer, or [`NOBODY`].
pub fn spread(rec: &mut Recorder, params: SpreadParams, owners: Tensor, weights: Tensor, out: Tensor) {
    rec.call(Kernel::PreferenceSpread, &params, &[read(owners), read(weights), write(out)]);
}

pub(super) fn lower_spread(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("preference_spread", |params: &SpreadParams| {
        (grid((params.n as usize).div_ceil(256)), 2 * u64::from(params.n))
    })
}
