//! Gated linear units (SwiGLU and GEGLU) and their gradient.

use bytemuck::{Pod, Zeroable};

use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

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

/// Sizes in elements; `cols` and `stride` are multiples of 4.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    pub rows: u32,
    /// Columns of `out`: F rounded up to a multiple of 8.
    pub cols: u32,
    /// Columns of gate, and of up, that take part; `out` is zero past them. F itself where up follows gate without
    /// padding.
    pub width: u32,
    /// The column of the first up value; gate begins at column 0.
    pub up: u32,
    /// Row stride of `gate_up`.
    pub stride: u32,
}

impl Params {
    /// Those of gate and up that are padded to `cols` columns each.
    pub fn padded(rows: u32, cols: u32) -> Self {
        Params { rows, cols, width: cols, up: cols, stride: 2 * cols }
    }

    /// The shader that reads gate and up as they lie.
    fn shader(&self, kernel: &str, act: Act) -> String {
        let is_aligned = self.width.is_multiple_of(4) && self.up.is_multiple_of(4);
        format!("{kernel}.{}.{}", act.name(), if is_aligned { "aligned" } else { "anywhere" })
    }

    fn elements(&self) -> usize {
        self.rows as usize * self.cols as usize
    }
}

/// `out` [rows, cols] = act(gate) · up, from `gate_up` [rows, stride].
pub fn forward(rec: &mut Recorder, act: Act, params: Params, gate_up: Tensor, out: Tensor) {
    rec.call(Kernel::GluForward(act), &params, &[read(gate_up), write(out)]);
}

pub(super) fn lower_forward(act: Act, call: &Sizes<'_>) -> Dispatch {
    let shader = call.largest::<Params>().shader("glu_forward", act);
    call.dispatch(shader, |params: &Params| {
        (grid(params.elements().div_ceil(4 * 256)), 20 * params.elements() as u64)
    })
}

/// Replaces `gate_up` [rows, stride] by its gradient, from `dout` [rows, cols].
pub fn backward(rec: &mut Recorder, act: Act, params: Params, dout: Tensor, gate_up: Tensor) {
    rec.call(Kernel::GluBackward(act), &params, &[read(dout), write(gate_up)]);
}

pub(super) fn lower_backward(act: Act, call: &Sizes<'_>) -> Dispatch {
    let shader = call.largest::<Params>().shader("glu_backward", act);
    call.dispatch(shader, |params: &Params| {
        (grid(params.elements().div_ceil(4 * 256)), 30 * params.elements() as u64)
    })
}
