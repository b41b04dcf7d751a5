//! Twin of [`crate::kernels::rms_norm`].

use num_traits::Float;

use crate::kernels::rms_norm::Params;

/// Returns `out` [rows, stride] and `rstd` [rows].
pub fn forward<F: Float>(params: &Params, inp: &[F], weight: &[F]) -> (Vec<F>, Vec<F>) {
    let (cols, stride) = (params.cols as usize, params.stride as usize);
    let mut out = vec![F::zero(); inp.len()];
    let mut rstd = Vec::new();
    for (x, y) in inp.chunks_exact(stride).zip(out.chunks_exact_mut(stride)) {
        let squares = x[..cols].iter().fold(F::zero(), |sum, &x| sum + x * x);
        let mean = squares / F::from(cols).expect("a float");
        let scale = F::one() / (mean + F::from(params.eps).expect("a float")).sqrt();
        for c in 0..cols {
            y[c] = weight[c] * (x[c] * scale);
        }
        rstd.push(scale);
    }
    (out, rstd)
}

/// Returns `dinp` [rows, stride], with `dresidual` [rows, stride] added.
pub fn backward<F: Float>(
    params: &Params,
    dout: &[F],
    inp: &[F],
    weight: &[F],
    rstd: &[F],
    dresidual: &[F],
) -> Vec<F> {
    let (cols, stride) = (params.cols as usize, params.stride as usize);
    let mut dinp = vec![F::zero(); inp.len()];
    for (row, &scale) in rstd.iter().enumerate() {
        let at = |c: usize| row * stride + c;
        let dot = (0..cols).fold(F::zero(), |sum, c| sum + dout[at(c)] * weight[c] * (inp[at(c)] * scale));
        let mean = dot / F::from(cols).expect("a float");
        for c in 0..cols {
            let normalised = inp[at(c)] * scale;
            dinp[at(c)] = scale * (dout[at(c)] * weight[c] - normalised * mean) + dresidual[at(c)];
        }
    }
    dinp
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::finite_difference::check_gradient;

    #[test]
    fn forward_of_a_known_row() {
        let params = Params { rows: 1, cols: 2, stride: 8, eps: 0.5 };
        let mut inp = vec![0.0f64; 8];
        inp[..2].copy_from_slice(&[3.0, -4.0]);
        let (out, rstd) = forward(&params, &inp, &[2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let want = 1.0 / 13f64.sqrt();
        assert!((rstd[0] - want).abs() < 1e-15);
        assert!((out[0] - 6.0 * want).abs() < 1e-15 && (out[1] + 4.0 * want).abs() < 1e-15);
        assert!(out[2..].iter().all(|&lane| lane == 0.0));
    }

    #[test]
    fn backward_is_the_gradient() {
        let params = Params { rows: 2, cols: 5, stride: 8, eps: 1e-2 };
        let wave = |n: usize, step: f64| -> Vec<f64> {
            (0..n).map(|i| if i % 8 < 5 { (1.0 + i as f64 * step).sin() } else { 0.0 }).collect()
        };
        let (inp, weight, dout, dresidual) = (wave(16, 0.7), wave(8, 1.9), wave(16, 1.3), wave(16, 0.4));
        let loss = |inp: &[f64]| -> f64 {
            let (out, _) = forward(&params, inp, &weight);
            let normed: f64 = out.iter().zip(&dout).map(|(y, g)| y * g).sum();
            let residual: f64 = (0..16).filter(|i| i % 8 < 5).map(|i| inp[i] * dresidual[i]).sum();
            normed + residual
        };
        let (_, rstd) = forward(&params, &inp, &weight);
        let dinp = backward(&params, &dout, &inp, &weight, &rstd, &dresidual);
        check_gradient(loss, &inp, &dinp, 1e-8);
    }
}
