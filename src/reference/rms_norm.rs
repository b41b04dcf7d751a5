//! Twin of [`crate::kernels::rms_norm`].

use num_traits::Float;

use crate::kernels::rms_norm::Params;

/// Returns `out` [rows, stride] and `rstd` [rows].
pub fn forward<F: Float>(
    params: &Params,
    inp: &[F],
    weight: &[F],
    residual: Option<&[F]>,
) -> (Vec<F>, Vec<F>) {
    let (cols, stride) = (params.cols as usize, params.stride as usize);
    let mut out = residual.map_or_else(|| vec![F::zero(); inp.len()], <[F]>::to_vec);
    let mut rstd = Vec::new();
    for (x, y) in inp.chunks_exact(stride).zip(out.chunks_exact_mut(stride)) {
        let squares = x[..cols].iter().fold(F::zero(), |sum, &x| sum + x * x);
        let mean = squares / F::from(cols).expect("a float");
        let scale = F::one() / (mean + F::from(params.eps).expect("a float")).sqrt();
        for c in 0..cols {
            y[c] = weight[c] * (x[c] * scale) + y[c];
        }
        rstd.push(scale);
    }
    (out, rstd)
}

/// Returns `dinp` [rows, stride], with `dresidual` [rows, stride] added where there is one.
pub fn backward<F: Float>(
    params: &Params,
    dout: &[F],
    inp: &[F],
    weight: &[F],
    rstd: &[F],
    dresidual: Option<&[F]>,
) -> Vec<F> {
    let (cols, stride) = (params.cols as usize, params.stride as usize);
    let mut dinp = dresidual.map_or_else(|| vec![F::zero(); inp.len()], <[F]>::to_vec);
    for (row, &scale) in rstd.iter().enumerate() {
        let at = |c: usize| row * stride + c;
        let dot = (0..cols).fold(F::zero(), |sum, c| sum + dout[at(c)] * weight[c] * (inp[at(c)] * scale));
        let mean = dot / F::from(cols).expect("a float");
        for c in 0..cols {
            let normalised = inp[at(c)] * scale;
            dinp[at(c)] = scale * (dout[at(c)] * weight[c] - normalised * mean) + dinp[at(c)];
        }
    }
    dinp
}

/// Adds the gradient of the weight to `dweight` [stride].
pub fn weight_gradient<F: Float>(params: &Params, dout: &[F], inp: &[F], rstd: &[F], dweight: &mut [F]) {
    let stride = params.stride as usize;
    for (row, &scale) in rstd.iter().enumerate() {
        for c in 0..params.cols as usize {
            let at = row * stride + c;
            dweight[c] = dweight[c] + dout[at] * (inp[at] * scale);
        }
    }
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
        let (out, rstd) = forward(&params, &inp, &[2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], None);
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
        let (inp, weight, dout, beside) = (wave(16, 0.7), wave(8, 1.9), wave(16, 1.3), wave(16, 0.4));
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        // Without a residual; with `inp` going past the norm as well; with one that is added behind the norm.
        let plain = |inp: &[f64]| dot(&forward(&params, inp, &weight, None).0, &dout);
        let past = |inp: &[f64]| plain(inp) + dot(inp, &beside);
        let behind = |inp: &[f64]| dot(&forward(&params, inp, &weight, Some(&beside)).0, &dout);
        let (_, rstd) = forward(&params, &inp, &weight, None);
        let gradient = |dresidual| backward(&params, &dout, &inp, &weight, &rstd, dresidual);
        check_gradient(plain, &inp, &gradient(None), 1e-8);
        check_gradient(past, &inp, &gradient(Some(&beside)), 1e-8);
        check_gradient(behind, &inp, &gradient(None), 1e-8);
        let of_residual = |residual: &[f64]| dot(&forward(&params, &inp, &weight, Some(residual)).0, &dout);
        check_gradient(of_residual, &beside, &dout, 1e-8);
        let of_weight = |weight: &[f64]| dot(&forward(&params, &inp, weight, None).0, &dout);
        let mut dweight = vec![0.0; 8];
        weight_gradient(&params, &dout, &inp, &rstd, &mut dweight);
        check_gradient(of_weight, &weight, &dweight, 1e-8);
    }
}
