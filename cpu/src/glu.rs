//! Gated linear units (SwiGLU and GEGLU) and their gradient; `shaders/shared/act.wgsl` has the activations.

use core::marker::PhantomData;

use crate::args::Args;
use crate::lanes::{map, part, update};
use crate::params::glu::Params;
use crate::simd::Vector;
use crate::table::Kernel;

/// An activation x·s(z(x)), where s is the logistic function.
pub trait Act {
    fn logit<V: Vector>(x: V) -> V;

    /// x·z'(x), and z(x).
    fn growth_and_logit<V: Vector>(x: V) -> (V, V);
}

pub struct Silu;
pub struct GeluTanh;

impl Act for Silu {
    #[inline(always)]
    fn logit<V: Vector>(x: V) -> V {
        x
    }

    #[inline(always)]
    fn growth_and_logit<V: Vector>(x: V) -> (V, V) {
        (x, x)
    }
}

/// 2·√(2/π), and that times 0.044715.
const SLOPE: f32 = 1.595_769_2;
const CUBIC: f32 = 0.071_354_814;

impl Act for GeluTanh {
    #[inline(always)]
    fn logit<V: Vector>(x: V) -> V {
        x * (x * x).mul_add(V::splat(CUBIC), V::splat(SLOPE))
    }

    #[inline(always)]
    fn growth_and_logit<V: Vector>(x: V) -> (V, V) {
        // Past 16 the logistic function of z and of −z is 1 and 0, whatever z is, so cubes need not overflow.
        let x = x.min(V::splat(16.0)).max(V::splat(-16.0));
        (x * (x * x).mul_add(V::splat(3.0 * CUBIC), V::splat(SLOPE)), Self::logit(x))
    }
}

/// The logistic function of x and of −x, each accurate where it is small: no exponential overflows.
#[inline(always)]
fn sigmoids<V: Vector>(x: V) -> [V; 2] {
    let minus = V::zero() - x;
    let small = x.min(minus).exp();
    let larger = V::splat(1.0) / (V::splat(1.0) + small);
    let smaller = small * larger;
    let is_negative = x.less(V::zero());
    [V::select(is_negative, smaller, larger), V::select(is_negative, larger, smaller)]
}

/// Elements that a task takes: each has an exponential and a division.
const ELEMENTS: u32 = 4096;

fn rows_together(params: &Params) -> u32 {
    (ELEMENTS / params.cols.max(1)).max(1)
}

fn tasks(args: &Args) -> u32 {
    let params: Params = args.params();
    params.rows.div_ceil(rows_together(&params))
}

/// Operands: gate_up [rows, stride], out [rows, cols].
pub struct Forward<A>(PhantomData<A>);

impl<A: Act> Kernel for Forward<A> {
    fn tasks(args: &Args) -> u32 {
        tasks(args)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let [cols, width, up, stride] =
            [params.cols, params.width, params.up, params.stride].map(|size| size as usize);
        for row in part(task, rows_together(&params), params.rows) {
            let gate_up = &args.input(0)[row * stride..(row + 1) * stride];
            // SAFETY: Rows of tasks are disjoint.
            let out = unsafe { args.output(1).slice(row * cols..(row + 1) * cols) };
            let (out, pads) = out.split_at_mut(width.min(cols));
            map([&gate_up[..width], &gate_up[up..up + width]], out, |[gate, up]: [V; 2]| {
                let decay = (V::zero() - A::logit(gate)).exp();
                gate / (V::splat(1.0) + decay) * up
            });
            pads.fill(0.0);
        }
    }
}

/// Operands: dout [rows, cols], gate_up [rows, stride], which becomes its gradient.
pub struct Backward<A>(PhantomData<A>);

impl<A: Act> Kernel for Backward<A> {
    fn tasks(args: &Args) -> u32 {
        tasks(args)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let [cols, width, up, stride] =
            [params.cols, params.width, params.up, params.stride].map(|size| size as usize);
        for row in part(task, rows_together(&params), params.rows) {
            let dout = &args.input(0)[row * cols..][..width];
            // SAFETY: Rows of tasks are disjoint.
            let gate_up = unsafe { args.output(1).slice(row * stride..(row + 1) * stride) };
            let (gate, up) = gate_up.split_at_mut(up);
            update([&mut gate[..width], &mut up[..width]], [dout], |[gate, up], [dout]: [V; 1]| {
                let (growth, logit) = A::growth_and_logit(gate);
                let [sigmoid, of_minus] = sigmoids(logit);
                let slope = sigmoid * growth.mul_add(of_minus, V::splat(1.0));
                [dout * up * slope, dout * (gate * sigmoid)]
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, run};

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    /// act(x) and its derivative.
    fn activation(act: &str, x: f64) -> [f64; 2] {
        if act == "silu" {
            return [x * sigmoid(x), sigmoid(x) * (1.0 + x * sigmoid(-x))];
        }
        let root = std::f64::consts::FRAC_2_PI.sqrt();
        let tanh = (root * (x + 0.044715 * x * x * x)).tanh();
        let inner = root * (1.0 + 3.0 * 0.044715 * x * x);
        [0.5 * x * (1.0 + tanh), 0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * inner]
    }

    /// Padded and not, long and short.
    fn shapes() -> [Params; 5] {
        [
            Params { rows: 1, cols: 8, width: 8, up: 8, stride: 16 },
            Params { rows: 3, cols: 16, width: 11, up: 11, stride: 24 },
            Params { rows: 7, cols: 40, width: 36, up: 36, stride: 72 },
            Params { rows: 65, cols: 96, width: 96, up: 96, stride: 192 },
            Params { rows: 2, cols: 4104, width: 4100, up: 4100, stride: 8200 },
        ]
    }

    #[test]
    fn activations_and_their_gradients_are_those_of_f64() {
        for (act, params) in ["silu", "gelu_tanh"].into_iter().flat_map(|act| shapes().map(|p| (act, p))) {
            let [rows, cols, width, up, stride] =
                [params.rows, params.cols, params.width, params.up, params.stride].map(|size| size as usize);
            let gate_up: Vec<f32> = random(1, rows * stride).iter().map(|x| 12.0 * x).collect();
            let dout = random(2, rows * cols);
            let (mut want, mut want_gradient) = (vec![0.0; rows * cols], to_f64(&gate_up));
            for (row, f) in (0..rows).flat_map(|row| (0..width).map(move |f| (row, f))) {
                let at = row * stride + f;
                let [value, slope] = activation(act, f64::from(gate_up[at]));
                let [dout, up_value] = [dout[row * cols + f], gate_up[at + up]].map(f64::from);
                want[row * cols + f] = value * up_value;
                want_gradient[at] = dout * up_value * slope;
                want_gradient[at + up] = dout * value;
            }
            let norms = |values: &[f64]| values.iter().map(|value| value.abs().max(1.0)).collect::<Vec<_>>();
            let nan = vec![f32::NAN; rows * cols];
            for got in run(&format!("glu_forward.{act}"), &params, &[&gate_up, &nan]) {
                assert_close(act, &got[1], &want, &norms(&want), 1e-6);
            }
            for got in run(&format!("glu_backward.{act}"), &params, &[&dout, &gate_up]) {
                assert_close(act, &got[1], &want_gradient, &norms(&want_gradient), 1e-6);
            }
        }
    }

    #[test]
    fn far_from_zero_a_gate_is_open_or_shut() {
        let gates = [-3e38, -1e20, -200.0, -90.0, 90.0, 200.0, 1e20, 3e38];
        let gate_up = [gates, [1.0; 8]].concat();
        let params = Params { rows: 1, cols: 8, width: 8, up: 8, stride: 16 };
        for act in ["silu", "gelu_tanh"] {
            for got in run(&format!("glu_forward.{act}"), &params, &[&gate_up, &[f32::NAN; 8]]) {
                assert!(got[1][..4].iter().all(|value| value.abs() < 1e-30), "{:?}", got[1]);
                assert_eq!(got[1][4..], gates[4..]);
            }
            for got in run(&format!("glu_backward.{act}"), &params, &[&[1.0; 8], &gate_up]) {
                assert!(got[1][..4].iter().all(|slope| slope.abs() < 1e-30), "{:?}", got[1]);
                assert_eq!(got[1][4..8], [1.0; 4]);
                assert!(got[1][8..12].iter().all(|value| value.abs() < 1e-30), "{:?}", got[1]);
                assert_eq!(got[1][12..], gates[4..]);
            }
        }
    }

    #[test]
    fn what_is_not_a_number_stays() {
        let gate_up = [[f32::NAN; 8], [1.0; 8]].concat();
        let params = Params { rows: 1, cols: 8, width: 8, up: 8, stride: 16 };
        for act in ["silu", "gelu_tanh"] {
            for got in run(&format!("glu_forward.{act}"), &params, &[&gate_up, &[0.0; 8]]) {
                assert!(got[1].iter().all(|value| value.is_nan()));
            }
            for got in run(&format!("glu_backward.{act}"), &params, &[&[1.0; 8], &gate_up]) {
                assert!(got[1].iter().all(|value| value.is_nan()));
            }
        }
    }

    fn to_f64(values: &[f32]) -> Vec<f64> {
        values.iter().map(|&value| f64::from(value)).collect()
    }
}
