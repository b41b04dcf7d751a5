//! SwiGLU and its gradient.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Recorder, Tensor, grid, read, write};

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    pub rows: u32,
    /// F rounded up to a multiple of 8: the columns of `act`, and the column of the first up value.
    pub half: u32,
}

impl Params {
    fn elements(&self) -> usize {
        self.rows as usize * self.half as usize
    }
}

/// `act` [rows, half] = silu(gate) · up, from `gate_up` [rows, 2·half].
pub fn forward(rec: &mut Recorder, params: Params, gate_up: Tensor, act: Tensor) {
    rec.dispatch(
        "swiglu_forward",
        &params,
        &[read(gate_up), write(act)],
        grid(params.elements().div_ceil(4 * 256)),
        20 * params.elements() as u64,
    );
}

/// Replaces `gate_up` [rows, 2·half] by its gradient, from `dact` [rows, half].
pub fn backward(rec: &mut Recorder, params: Params, dact: Tensor, gate_up: Tensor) {
    rec.dispatch(
        "swiglu_backward",
        &params,
        &[read(dact), write(gate_up)],
        grid(params.elements().div_ceil(4 * 256)),
        30 * params.elements() as u64,
    );
}
