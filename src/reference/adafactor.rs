//! Twin of [`crate::kernels::adafactor`].

use num_traits::Float;

use crate::kernels::adafactor::Hyper;
use crate::kernels::grad_norm::{STATS, STATS_CLIP, STATS_FINITE, STATS_WAS_FINITE};

/// A matrix with the moments of its rows and columns, or a vector, which is one row and has those of its columns alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix<F> {
    /// [rows, cols]
    pub param: Vec<F>,
    /// [rows]
    pub of_rows: Vec<F>,
    /// [cols]
    pub of_cols: Vec<F>,
}

fn mean<F: Float>(values: impl ExactSizeIterator<Item = F>) -> F {
    let count = F::from(values.len()).expect("a float");
    values.fold(F::zero(), |sum, value| sum + value) / count
}

/// Updates `matrix` from `grad` [rows, cols]. `decays` is whether weight decay shrinks it.
pub fn update<F: Float>(
    decays: bool,
    grad: &[F],
    stats: &[F; STATS],
    hyper: &[Hyper; 2],
    matrix: &mut Matrix<F>,
) {
    if stats[STATS_FINITE] != F::one() {
        return;
    }
    let hyper = &hyper[usize::from(stats[STATS_WAS_FINITE] == F::one())];
    let float = |x: f32| F::from(x).expect("a float");
    let Matrix { param, of_rows, of_cols } = matrix;
    let (rows, cols) = (of_rows.len(), of_cols.len());
    let g = |row: usize, col: usize| grad[row * cols + col] * stats[STATS_CLIP];
    let square = |row: usize, col: usize| g(row, col) * g(row, col) + float(hyper.eps);
    let moved = |moment: F, mean: F| float(hyper.beta2) * moment + float(hyper.one_minus_beta2) * mean;
    for row in 0..rows {
        of_rows[row] = moved(of_rows[row], mean((0..cols).map(|col| square(row, col))));
    }
    for col in 0..cols {
        of_cols[col] = moved(of_cols[col], mean((0..rows).map(|row| square(row, col))));
    }
    let of_all = mean(of_rows.iter().copied());
    let step = |i: usize| {
        let (row, col) = (i / cols, i % cols);
        let of_row = if rows == 1 { F::one() } else { of_rows[row] / of_all };
        g(row, col) / (of_row.sqrt() * of_cols[col].sqrt())
    };
    let rms = mean((0..rows * cols).map(|i| step(i) * step(i))).sqrt();
    let decay = if decays { float(hyper.decay) } else { F::one() };
    for i in 0..rows * cols {
        param[i] = param[i] * decay - float(hyper.learning_rate) * (step(i) / rms.max(F::one()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_near(got: &[f64], want: &[f64]) {
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            // The hyperparameters are f32, half an epsilon of which is 6e-8.
            assert!((got - want).abs() <= 4e-7 * want.abs(), "element {i}: {got} against {want}");
        }
    }

    /// Three steps of transformers.optimization.Adafactor in float64, with gradients clipped to half of themselves, another
    /// learning rate in each, and values far larger in the last one, which the bound on a step then shrinks.
    #[test]
    fn three_steps_are_those_of_transformers() {
        let start = |param: &[f64], rows: usize| {
            let of_cols = vec![0.0; param.len() / rows];
            Matrix { param: param.to_vec(), of_rows: vec![0.0; rows], of_cols }
        };
        let mut matrix = start(&[0.5, -1.0, 2.0, 0.25, 0.0, -3.0], 2);
        let mut vector = start(&[0.5, -1.0, 2.0, 0.0], 1);
        for (step, learning_rate, factor) in [(1, 0.25, 1.0), (2, 0.5, 1.0), (3, 0.125, 20.0)] {
            let number = f64::from(step);
            let hyper = [Hyper::at_step(learning_rate, 0.1, step); 2];
            let stats = [1.0, 0.5, 1.0, 0.0];
            let grad = [0.3, -2.0 * number, 0.0, 1e-3, 0.5, -0.25 * number * factor];
            update(true, &grad, &stats, &hyper, &mut matrix);
            update(false, &[0.3, -2.0 * number * factor, 1e-9, 0.0], &stats, &hyper, &mut vector);
        }
        let want = [
            -0.045730692275586904,
            -0.3288374450248119,
            1.82934375,
            0.22345078090098275,
            -0.27950684480810684,
            -0.9302504284866782,
        ];
        assert_near(&matrix.param, &want);
        assert_near(&matrix.of_rows, &[1.7840040547503238, 7.81494511918763]);
        assert_near(&matrix.of_cols, &[0.011250125, 2.696006082125485, 11.691167553781447]);
        let want = [-0.3691062114047064, 0.040735755867485846, 1.130893788597032, 0.0];
        assert_near(&vector.param, &want);
        assert_near(&vector.of_cols, &[0.0225, 1496.4694468840253, 2.50000000001e-19, 1e-30]);
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let before = Matrix { param: vec![1.0f64; 6], of_rows: vec![2.0; 2], of_cols: vec![3.0; 3] };
        let mut matrix = before.clone();
        let hyper = [Hyper::at_step(0.01, 0.1, 1); 2];
        update(true, &[f64::NAN; 6], &[f64::NAN, 0.0, 0.0, 0.0], &hyper, &mut matrix);
        assert_eq!(matrix, before);
    }
}
