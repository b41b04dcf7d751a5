//! Twin of [`crate::kernels::glu`].

use num_traits::Float;

use crate::kernels::glu::{Act, Params};

fn float<F: Float>(value: f64) -> F {
    F::from(value).expect("a float")
}

fn sigmoid<F: Float>(x: F) -> F {
    F::one() / (F::one() + (-x).exp())
}

/// act(x) and its derivative.
fn activation<F: Float>(act: Act, x: F) -> [F; 2] {
    match act {
        Act::Silu => [x * sigmoid(x), sigmoid(x) * (F::one() + x * sigmoid(-x))],
        Act::GeluTanh => {
            let [two, half, cubic]: [F; 3] = [2.0, 0.5, 0.044715].map(float);
            let root: F = float::<F>(std::f64::consts::FRAC_2_PI).sqrt();
            let tanh: F = (root * (x + cubic * x * x * x)).tanh();
            let inner: F = root * (F::one() + (two + F::one()) * cubic * x * x);
            let bell: F = F::one() - tanh * tanh;
            [half * x * (F::one() + tanh), half * (F::one() + tanh) + half * x * bell * inner]
        }
    }
}

/// Returns `out` [rows, cols].
pub fn forward<F: Float>(act: Act, params: &Params, gate_up: &[F]) -> Vec<F> {
    let Params { cols, width, up, stride, .. } = *params;
    let value = |row: &[F], f: u32| match f < width {
        true => activation(act, row[f as usize])[0] * row[(up + f) as usize],
        false => F::zero(),
    };
    gate_up
        .chunks_exact(stride as usize)
        .flat_map(|row| (0..cols).map(|f| value(row, f)).collect::<Vec<F>>())
        .collect()
}

/// Replaces `gate_up` [rows, stride] by its gradient.
pub fn backward<F: Float>(act: Act, params: &Params, dout: &[F], gate_up: &mut [F]) {
    let [cols, width, first_up, stride] =
        [params.cols, params.width, params.up, params.stride].map(|size| size as usize);
    for (row, dout) in gate_up.chunks_exact_mut(stride).zip(dout.chunks_exact(cols)) {
        for f in 0..width {
            let ([value, slope], up) = (activation(act, row[f]), row[first_up + f]);
            row[f] = dout[f] * up * slope;
            row[first_up + f] = dout[f] * value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::finite_difference::check_gradient;

    #[test]
    fn backward_is_the_gradient() {
        for act in Act::ALL {
            let params = Params { rows: 3, cols: 8, width: 6, up: 6, stride: 12 };
            let gate_up: Vec<f64> = (0..36).map(|i| 4.0 * (i as f64 * 0.7).sin()).collect();
            let dout: Vec<f64> = (0..24).map(|i| (i as f64 * 1.3).cos()).collect();
            let loss = |gate_up: &[f64]| -> f64 {
                forward(act, &params, gate_up).iter().zip(&dout).map(|(y, g)| y * g).sum()
            };
            let mut gradient = gate_up.clone();
            backward(act, &params, &dout, &mut gradient);
            check_gradient(loss, &gate_up, &gradient, 1e-8);
        }
    }

    /// Those of 1 and −2.5 by torch's `silu` and by its `gelu` with `approximate="tanh"`, in f64.
    #[test]
    fn values_are_those_of_torch() {
        for (act, want) in [
            (Act::Silu, [0.7310585786300049, -0.18964545005310887]),
            (Act::GeluTanh, [0.8411919906082768, -0.015084266089998577]),
        ] {
            let out = forward(act, &Params::padded(1, 2), &[1.0f64, -2.5, 2.0, 2.0]);
            for (got, want) in out.iter().zip(want) {
                assert!((got - 2.0 * want).abs() < 1e-15, "{act:?}: {got} against twice {want}");
            }
        }
    }
}
