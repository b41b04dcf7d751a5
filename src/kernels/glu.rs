//! Gated linear units (SwiGLU and GEGLU) and their gradient.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Recorder, Tensor, grid, read, write};

/// The activation of the gate; transformers' `hidden_act`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// x·sigmoid(x).
    Silu,
    /// 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))), transformers' `gelu_pytorch_tanh`.
    GeluTanh,
}

impl Act {
    pub const ALL: [Act; 2] = [Act::Silu, Act::GeluTanh];

    /// The name of the shader variant.
    pub const fn name(self) -> &'static str {
        match self {
            Act::Silu => "silu",
            Act::GeluTanh => "gelu_tanh",
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    pub rows: u32,
    /// F rounded up to a multiple of 8: the columns of `out`, and the column of the first up value.
    pub half: u32,
}

impl Params {
    fn elements(&self) -> usize {
        self.rows as usize * self.half as usize
    }
}

/// `out` [rows, half] = act(gate) · up, from `gate_up` [rows, 2·half].
pub fn forward(rec: &mut Recorder, act: Act, params: Params, gate_up: Tensor, out: Tensor) {
    rec.dispatch(
        format!("glu_forward.{}", act.name()),
        &params,
        &[read(gate_up), write(out)],
        grid(params.elements().div_ceil(4 * 256)),
        20 * params.elements() as u64,
    );
}

/// Replaces `gate_up` [rows, 2·half] by its gradient, from `dout` [rows, half].
pub fn backward(rec: &mut Recorder, act: Act, params: Params, dout: Tensor, gate_up: Tensor) {
    rec.dispatch(
        format!("glu_backward.{}", act.name()),
        &params,
        &[read(dout), write(gate_up)],
        grid(params.elements().div_ceil(4 * 256)),
        30 * params.elements() as u64,
    );
}
