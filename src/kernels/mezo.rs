//! Memory-efficient zeroth-order steps (MeZO, Malladi et al. 2023, arXiv:2305.17333, algorithm 1): parameters moved along a
//! random direction and back, the slope of the loss between both, and the update along the direction.
//!
//! A direction z is standard normal and never stored: its value at column c of row r of a matrix is a function of (seed,
//! sample, the matrix's stream, r, c) alone, wherever the matrix lies.

use bytemuck::{Pod, Zeroable};

use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

/// The most directions of a step.
pub const MAX_SAMPLES: usize = 8;

/// A matrix, or rows of one, in a flat buffer of parameters. What lies between its columns and its stride has no
/// direction, so padding stays what it is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Place {
    /// Its first value in the buffer, a multiple of 4.
    pub first: u32,
    /// Where the next place may begin, a multiple of 4.
    pub end: u32,
    /// Values from row to row, a multiple of 4.
    pub stride: u32,
    pub cols: u32,
    /// The number of its first four values among those of the whole matrix, each row of which counts whole fours.
    pub counter: u32,
    /// Tells matrices apart.
    pub stream: u32,
    pub pads: [u32; 2],
}

/// What changes from step to step, written to a storage buffer before each.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Hyper {
    /// 1 − learning rate · weight decay.
    pub decay: f32,
    /// Learning rate / directions.
    pub rate: f32,
    pub seed: u32,
    pub pad: u32,
}

impl Hyper {
    /// Computed in f64 and rounded once.
    pub fn new(learning_rate: f64, weight_decay: f64, samples: usize, seed: u32) -> Self {
        let decay = (1.0 - learning_rate * weight_decay) as f32;
        Hyper { decay, rate: (learning_rate / samples as f64) as f32, seed, pad: 0 }
    }
}

/// How far parameters are moved along which direction, in a storage buffer: passes to all sides are one recording.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Shift {
    pub seed: u32,
    /// Which of a step's directions, from 0 on.
    pub sample: u32,
    /// What the direction is multiplied by, of either sign; with 0 parameters are copied.
    pub scale: f32,
    pub pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct PerturbParams {
    /// Elements, a multiple of 4.
    pub n: u32,
    /// The first of them in the flat buffer, a multiple of 4.
    pub first: u32,
    /// Of the places those that lie among them: the first, and the end. There is one.
    pub first_place: u32,
    pub end_place: u32,
}

/// `out` [n] = `param` [n] + scale · z for a part of a flat buffer, where the `places` ([`Place`], in their order) say which
/// matrices the whole buffer has. `shift` is a [`Shift`].
pub fn perturb(
    rec: &mut Recorder,
    params: PerturbParams,
    places: Tensor,
    shift: Tensor,
    param: Tensor,
    out: Tensor,
) {
    rec.call(Kernel::MezoPerturb, &params, &[read(places), read(shift), read(param), write(out)]);
}

pub(super) fn lower_perturb(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("mezo_perturb", |params: &PerturbParams| work(params.n, 1))
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct LossesParams {
    /// Rows with a loss.
    pub n: u32,
    pub sample: u32,
}

/// Floats of what is known of a direction: the loss ahead, the loss behind, and their difference (in [`finish`]'s stats
/// the slope), and nothing.
pub const OF_SAMPLE: usize = 4;

/// Adds Σ weight·plus, Σ weight·minus and Σ weight·(plus − minus) over n rows to the sample's three of `sums`
/// [samples, [`OF_SAMPLE`]]. Differences are taken row by row, because two sums would cancel what they differ in.
pub fn losses(
    rec: &mut Recorder,
    params: LossesParams,
    weight: Tensor,
    plus: Tensor,
    minus: Tensor,
    sums: Tensor,
) {
    rec.call(Kernel::MezoLosses, &params, &[read(weight), read(plus), read(minus), write(sums)]);
}

pub(super) fn lower_losses(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("mezo_losses", |params: &LossesParams| (grid(1), 6 * u64::from(params.n)))
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct MissesParams {
    /// Labelled tokens.
    pub n: u32,
}

/// Whether any token of a text was missed: `out[i]` is 1 where one of `miss[starts[i]..=i]` is not 0, for the last labelled
/// token i of each text; 0 for other tokens, whose start is u32::MAX.
pub fn misses(rec: &mut Recorder, params: MissesParams, starts: Tensor, miss: Tensor, out: Tensor) {
    rec.call(Kernel::MezoMisses, &params, &[read(starts), read(miss), write(out)]);
}

pub(super) fn lower_misses(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("mezo_misses", |params: &MissesParams| {
        (grid((params.n as usize).div_ceil(256)), u64::from(params.n))
    })
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct FinishParams {
    pub samples: u32,
    /// How far apart both losses are: twice zo_eps.
    pub distance: f32,
}

/// The floats of `stats`.
pub const STATS: usize = OF_SAMPLE + OF_SAMPLE * MAX_SAMPLES;
/// 1 when all losses and slopes are finite, else 0.
pub const STATS_FINITE: usize = 0;
/// Where those of the first direction begin: both losses, and the projected gradient.
pub const STATS_SAMPLES: usize = OF_SAMPLE;

/// Writes `stats` [[`STATS`]] from the `sums` of [`losses`]: the slope is the difference of both losses over the distance.
pub fn finish(rec: &mut Recorder, params: FinishParams, sums: Tensor, stats: Tensor) {
    rec.call(Kernel::MezoFinish, &params, &[read(sums), write(stats)]);
}

pub(super) fn lower_finish(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("mezo_finish", |params: &FinishParams| (grid(1), u64::from(params.samples)))
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct UpdateParams {
    /// Elements, a multiple of 4.
    pub n: u32,
    pub places: u32,
    /// Directions of the step.
    pub samples: u32,
    /// 1 where weight decay shrinks the elements, else 0.
    pub decays: u32,
}

/// `param` ← param · decay − rate · Σ slope · z over the directions, or nothing where `stats` says that something is not
/// finite.
pub fn update(
    rec: &mut Recorder,
    params: UpdateParams,
    places: Tensor,
    hyper: Tensor,
    stats: Tensor,
    param: Tensor,
) {
    rec.call(Kernel::MezoUpdate, &params, &[read(places), read(hyper), read(stats), write(param)]);
}

pub(super) fn lower_update(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("mezo_update", |params: &UpdateParams| work(params.n, params.samples))
}

/// A value of a direction takes some fifty operations.
fn work(n: u32, samples: u32) -> ([u32; 3], u64) {
    (grid((n as usize).div_ceil(4 * 256)), 50 * u64::from(n) * u64::from(samples))
}
