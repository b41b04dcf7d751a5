//! Twin of [`crate::kernels::bias`].

use num_traits::Float;

use crate::kernels::bias::Params;

/// Adds `bias` [cols] to columns of `y` [rows, stride].
pub fn add<F: Float>(params: &Params, bias: &[F], y: &mut [F]) {
    for row in y.chunks_exact_mut(params.stride as usize).take(params.rows as usize) {
        for c in 0..params.cols as usize {
            let at = params.offset as usize + c;
            row[at] = row[at] + bias[c];
        }
    }
}

/// Adds the gradient of the bias to `dbias` [cols].
pub fn gradient<F: Float>(params: &Params, dy: &[F], dbias: &mut [F]) {
    for row in dy.chunks_exact(params.stride as usize).take(params.rows as usize) {
        for (sum, &dy) in dbias.iter_mut().zip(&row[params.offset as usize..][..params.cols as usize]) {
            *sum = *sum + dy;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_columns_and_rows_stay() {
        let params = Params { rows: 2, stride: 4, offset: 1, cols: 2 };
        let mut y = [0.0f64; 12];
        add(&params, &[1.0, 2.0], &mut y);
        assert_eq!(y, [0.0, 1.0, 2.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn the_gradient_is_the_sum_of_its_columns() {
        let params = Params { rows: 2, stride: 4, offset: 1, cols: 2 };
        let mut dbias = [0.5f64, 0.0];
        gradient(&params, &[9.0, 1.0, 2.0, 9.0, 9.0, 3.0, 4.0, 9.0], &mut dbias);
        assert_eq!(dbias, [4.5, 6.0]);
    }
}
