//! Twin of [`crate::kernels::dora`], on a dense weight.

use num_traits::Float;

use super::linear::section;
use crate::kernels::dora::Params;
use crate::kernels::linear::{self, NONE};

/// The squares of the norms of the rows of W [cols, depth].
pub fn squares<F: Float>(params: &linear::Params, weight: &[F]) -> Vec<F> {
    let rows = weight.chunks_exact(params.depth as usize).take(params.cols as usize);
    rows.map(|row| row.iter().fold(F::zero(), |sum, &w| sum + w * w)).collect()
}

/// The layer of a column, and where its magnitude and its norm lie; `None` where the layer has no LoRA.
fn place(params: &Params, col: usize) -> Option<(usize, usize)> {
    let (index, start) = section(&params.section_end, col);
    let first = (params.b_base[index] / params.rank) as usize;
    (params.t_offset[index] != NONE).then_some((index, first + col - start))
}

/// The norms of the rows of W + s·B·A, of which `squares`, `products` and `gram` tell, into `norms`.
pub fn norms<F: Float>(
    params: &Params,
    squares: &[F],
    products: &[F],
    gram: &[F],
    lora_b: &[F],
    norms: &mut [F],
) {
    let [cols, rank, t_stride] = [params.cols, params.rank, params.t_stride].map(|size| size as usize);
    let two = F::one() + F::one();
    for col in 0..cols {
        let Some((index, place)) = place(params, col) else { continue };
        let (first, scale) = (params.t_offset[index] as usize, F::from(params.scale[index]).expect("finite"));
        let b = &lora_b[place * rank..][..rank];
        let mut square = squares[col];
        for j in 0..rank {
            square = square + two * scale * b[j] * products[(first + j) * cols + col];
            for i in 0..rank {
                square = square + scale * scale * b[j] * gram[(first + j) * t_stride + first + i] * b[i];
            }
        }
        norms[place] = square.max(F::zero()).sqrt();
    }
}

fn factor<F: Float>(params: &Params, col: usize, magnitudes: &[F], norms: &[F]) -> F {
    match place(params, col) {
        None => F::one(),
        Some((_, place)) if norms[place] == F::zero() => F::zero(),
        Some((_, place)) => magnitudes[place] / norms[place],
    }
}

/// Y = m/n·Z + residual, into `y`.
pub fn forward<F: Float>(
    params: &Params,
    z: &[F],
    (magnitudes, norms): (&[F], &[F]),
    residual: Option<&[F]>,
    y: &mut [F],
) {
    for row in 0..params.rows as usize {
        for col in 0..params.cols as usize {
            let place = row * params.stride as usize + params.offset as usize + col;
            let scaled = factor(params, col, magnitudes, norms) * z[row * params.cols as usize + col];
            y[place] = scaled + residual.map_or(F::zero(), |residual| residual[place]);
        }
    }
}

/// dZ = (m/n − minus)·dY.
pub fn backward<F: Float>(params: &Params, dy: &[F], magnitudes: &[F], norms: &[F]) -> Vec<F> {
    let minus = F::from(params.minus).expect("finite");
    let mut dz = Vec::new();
    for row in 0..params.rows as usize {
        for col in 0..params.cols as usize {
            let gradient = dy[row * params.stride as usize + params.offset as usize + col];
            dz.push((factor(params, col, magnitudes, norms) - minus) * gradient);
        }
    }
    dz
}

/// Adds the gradient of the magnitudes to `gradient`.
pub fn magnitude_gradient<F: Float>(params: &Params, dy: &[F], z: &[F], norms: &[F], gradient: &mut [F]) {
    for col in 0..params.cols as usize {
        let Some((_, place)) = place(params, col) else { continue };
        if norms[place] == F::zero() {
            continue;
        }
        let mut sum = F::zero();
        for row in 0..params.rows as usize {
            let dy = dy[row * params.stride as usize + params.offset as usize + col];
            sum = sum + dy * z[row * params.cols as usize + col];
        }
        gradient[place] = gradient[place] + sum / norms[place];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::finite_difference::check_gradient;

    /// Three stacked layers, the middle one without LoRA, of rank 8.
    const PARAMS: Params = Params {
        rows: 3,
        cols: 32,
        stride: 40,
        offset: 8,
        rank: 8,
        t_stride: 16,
        add_residual: 1,
        minus: 0.0,
        section_end: [8, 16, 32, u32::MAX],
        t_offset: [0, NONE, 8, NONE],
        b_base: [0, 0, 64, 0],
        scale: [0.5, 1.0, 2.0, 1.0],
    };
    const DEPTH: usize = 16;

    fn values(count: usize, seed: usize) -> Vec<f64> {
        (0..count).map(|i| ((i * 37 + seed * 101) % 97) as f64 / 48.5 - 1.0).collect()
    }

    fn product(a: &[f64], b: &[f64], depth: usize) -> Vec<f64> {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        a.chunks(depth).flat_map(|a| b.chunks(depth).map(move |b| dot(a, b))).collect()
    }

    #[test]
    fn norms_are_those_of_the_summed_rows() {
        let (weight, a, b) = (values(32 * DEPTH, 1), values(16 * DEPTH, 2), values(24 * 8, 3));
        let of_weight = linear::Params::plain(1, 32, DEPTH);
        let (mut got, squares) = (vec![0.0; 24], squares(&of_weight, &weight));
        let (products, gram) = (product(&a, &weight, DEPTH), product(&a, &a, DEPTH));
        norms(&PARAMS, &squares, &products, &gram, &b, &mut got);
        for (layer, (rows, first, scale)) in [(0..8, 0, 0.5), (16..32, 8, 2.0)].into_iter().enumerate() {
            for (i, row) in rows.enumerate() {
                let place = 8 * layer + i;
                let sum = |k: usize| {
                    let of = |r: usize| b[place * 8 + r] * a[(first + r) * DEPTH + k];
                    weight[row * DEPTH + k] + scale * (0..8).map(of).sum::<f64>()
                };
                let want = (0..DEPTH).map(|k| sum(k).powi(2)).sum::<f64>().sqrt();
                assert!((got[place] - want).abs() < 1e-12, "row {row}: {} is not {want}", got[place]);
            }
        }
    }

    #[test]
    fn gradients_are_those_of_the_forward_pass() {
        let (z, magnitudes) = (values(3 * 32, 1), values(24, 2));
        let norms: Vec<f64> = values(24, 3)
            .into_iter()
            .enumerate()
            .map(|(i, x)| if i == 4 { 0.0 } else { x.abs() + 0.5 })
            .collect();
        let (residual, dy) = (values(3 * 40, 4), values(3 * 40, 5));
        let loss = |z: &[f64], magnitudes: &[f64]| {
            let mut y = residual.clone();
            forward(&PARAMS, z, (magnitudes, &norms), Some(&residual), &mut y);
            y.iter().zip(&dy).map(|(y, dy)| y * dy).sum::<f64>()
        };
        let dz = backward(&PARAMS, &dy, &magnitudes, &norms);
        check_gradient(|z| loss(z, &magnitudes), &z, &dz, 1e-8);
        let mut gradient = vec![0.0; 24];
        magnitude_gradient(&PARAMS, &dy, &z, &norms, &mut gradient);
        check_gradient(|magnitudes| loss(&z, magnitudes), &magnitudes, &gradient, 1e-8);

        let less = backward(&Params { minus: 1.0, ..PARAMS }, &dy, &magnitudes, &norms);
        for (i, (less, dz)) in less.iter().zip(&dz).enumerate() {
            let dy = dy[i / 32 * 40 + 8 + i % 32];
            assert!((less - (dz - dy)).abs() < 1e-12, "element {i}");
        }
    }
}
