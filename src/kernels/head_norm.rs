//! RMSNorm over each head of the queries and keys, and its gradient.

use bytemuck::{Pod, Zeroable};

use super::lower::{GpuTarget, Sizes};
use super::recorder::{Kernel, Recorder};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

/// Sizes, strides and offsets in elements, all multiples of 4 but `rows` and the head counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    pub rows: u32,
    /// Row stride of `qkv`.
    pub stride: u32,
    /// Column of the first query head; the heads follow one another.
    pub q_offset: u32,
    /// Column of the first key head, behind the query heads.
    pub k_offset: u32,
    pub q_heads: u32,
    pub kv_heads: u32,
    pub head_dim: u32,
    /// `rms_norm_eps`.
    pub eps: f32,
}

impl Params {
    /// Its teams own four heads each.
    fn teams(&self) -> usize {
        (self.rows as usize * (self.q_heads + self.kv_heads) as usize).div_ceil(4)
    }

    fn elements(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.stride)
    }
}

/// The weights, [head_dim] each.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    pub q: Tensor,
    pub k: Tensor,
}

/// Normalises the query and key heads of `qkv` [rows, stride] into `out` [rows, stride], times their
/// weights, and copies all other columns.
pub fn forward(rec: &mut Recorder, params: Params, qkv: Tensor, weights: Weights, out: Tensor) {
    let bindings = [read(qkv), read(weights.q), read(weights.k), write(out)];
    rec.call(Kernel::HeadNormForward, &params, &bindings);
}

pub(super) fn lower_forward(target: &GpuTarget, call: &Sizes<'_>) -> Dispatch {
    lower("head_norm_forward", 8, target, call)
}

/// Replaces the gradient `dqkv` [rows, stride] of what [`forward`] wrote by that of the `qkv` that it
/// read. That of a weight that learns is [`weight_gradient`].
pub fn backward(rec: &mut Recorder, params: Params, qkv: Tensor, weights: Weights, dqkv: Tensor) {
    let bindings = [read(qkv), read(weights.q), read(weights.k), write(dqkv)];
    rec.call(Kernel::HeadNormBackward, &params, &bindings);
}

pub(super) fn lower_backward(target: &GpuTarget, call: &Sizes<'_>) -> Dispatch {
    lower("head_norm_backward", 16, target, call)
}

/// The heads that share a weight: the queries' or the keys'.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct WeightParams {
    pub rows: u32,
    /// Row stride of `qkv`.
    pub stride: u32,
    /// Column of the first head; the heads follow one another.
    pub offset: u32,
    pub heads: u32,
    pub head_dim: u32,
    /// `rms_norm_eps`.
    pub eps: f32,
}

impl Params {
    /// The query heads, then the key heads.
    pub fn by_weight(&self) -> [WeightParams; 2] {
        let Params { rows, stride, head_dim, eps, .. } = *self;
        let of = |offset, heads| WeightParams { rows, stride, offset, heads, head_dim, eps };
        [of(self.q_offset, self.q_heads), of(self.k_offset, self.kv_heads)]
    }
}

/// Adds the gradient of the weight of some heads to `dweight` [head_dim], summed over rows and heads in a fixed order.
/// `qkv` is what [`forward`] read, `dout` the gradient of what it wrote, both [rows, stride].
pub fn weight_gradient(rec: &mut Recorder, params: WeightParams, qkv: Tensor, dout: Tensor, dweight: Tensor) {
    rec.call(Kernel::HeadNormWeightGradient, &params, &[read(qkv), read(dout), write(dweight)]);
}

pub(super) fn lower_weight_gradient(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("head_norm_weight_gradient", |params: &WeightParams| {
        let elements = u64::from(params.rows) * u64::from(params.heads) * u64::from(params.head_dim);
        (grid((params.head_dim as usize / 4).div_ceil(4)), elements * u64::from(params.head_dim))
    })
}

fn lower(kernel: &str, flops: u64, target: &GpuTarget, call: &Sizes<'_>) -> Dispatch {
    let (shader, teams) = target.team(kernel, call.largest::<Params>().head_dim as usize);
    call.dispatch(shader, |params: &Params| (grid(params.teams().div_ceil(teams)), flops * params.elements()))
}
