//! Twin of [`crate::kernels::swiglu`].

use num_traits::Float;

use crate::kernels::swiglu::Params;

fn sigmoid<F: Float>(x: F) -> F {
    F::one() / (F::one() + (-x).exp())
}

/// Returns `act` [rows, half].
pub fn forward<F: Float>(params: &Params, gate_up: &[F]) -> Vec<F> {
    let half = params.half as usize;
    let rows = gate_up.chunks_exact(2 * half);
    rows.flat_map(|row| (0..half).map(|f| row[f] * sigmoid(row[f]) * row[half + f])).collect()
}

/// Replaces `gate_up` [rows, 2·half] by its gradient.
pub fn backward<F: Float>(params: &Params, dact: &[F], gate_up: &mut [F]) {
    let half = params.half as usize;
    for (row, dact) in gate_up.chunks_exact_mut(2 * half).zip(dact.chunks_exact(half)) {
        for f in 0..half {
            let (gate, up) = (row[f], row[half + f]);
            row[f] = dact[f] * up * sigmoid(gate) * (F::one() + gate * sigmoid(-gate));
            row[half + f] = dact[f] * gate * sigmoid(gate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::finite_difference::check_gradient;

    #[test]
    fn backward_is_the_gradient() {
        let params = Params { rows: 3, half: 8 };
        let gate_up: Vec<f64> = (0..48).map(|i| 4.0 * (i as f64 * 0.7).sin()).collect();
        let dact: Vec<f64> = (0..24).map(|i| (i as f64 * 1.3).cos()).collect();
        let loss = |gate_up: &[f64]| -> f64 {
            forward(&params, gate_up).iter().zip(&dact).map(|(y, g)| y * g).sum()
        };
        let mut gradient = gate_up.clone();
        backward(&params, &dact, &mut gradient);
        check_gradient(loss, &gate_up, &gradient, 1e-8);
    }

    #[test]
    fn silu_of_one_is_known() {
        let act = forward(&Params { rows: 1, half: 1 }, &[1.0f64, 2.0]);
        assert!((act[0] - 2.0 * 0.731_058_578_630_004_9).abs() < 1e-15);
    }
}
