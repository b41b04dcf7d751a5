//! Twin of the linear kernels, on a dense weight.

use num_traits::Float;

use crate::format::{Packed, WeightFormat};
use crate::kernels::linear::{NONE, Params};

/// A LoRA panel on the host: T [M, t_stride] with B's, or dT with A [t_stride, K].
#[derive(Clone, Copy)]
pub struct Panel<'a, F> {
    pub t: &'a [F],
    pub factor: &'a [F],
}

/// The stacked layer that column `col` belongs to, and the column where that layer begins.
pub fn section(section_end: &[u32; 4], col: usize) -> (usize, usize) {
    let index = section_end.iter().take(2).filter(|&&end| col >= end as usize).count();
    (index, if index == 0 { 0 } else { section_end[index - 1] as usize })
}

/// What the half tiles make of a weight: the nearest f16 of each value.
pub fn round_to_f16(weight: &mut [f32]) {
    for value in weight {
        *value = half::f16::from_f32(*value).to_f32();
    }
}

/// Y = scale·X·Wᵀ + T·Bᵀ + residual, added into `y`'s place; W [cols, depth] row-major.
pub fn forward<F: Float>(
    params: &Params,
    x: &[F],
    weight: &[F],
    panel: Option<Panel<F>>,
    residual: Option<&[F]>,
    y: &mut [F],
) {
    let p = |value: u32| value as usize;
    for row in 0..p(params.rows) {
        let x_row = &x[row * p(params.x_stride) + p(params.x_offset)..][..p(params.depth)];
        for col in 0..p(params.cols) {
            let w_row = &weight[col * p(params.depth)..][..p(params.depth)];
            let mut sum = dot(x_row, w_row) * F::from(params.scale).expect("a scale is finite");
            if let Some(panel) = panel {
                let (index, start) = section(&params.section_end, col);
                if params.t_offset[index] != NONE {
                    let t_row = &panel.t[row * p(params.t_stride) + p(params.t_offset[index])..];
                    let b_row = &panel.factor[p(params.b_base[index]) + (col - start) * p(params.rank)..];
                    sum = sum + dot(&t_row[..p(params.rank)], &b_row[..p(params.rank)]);
                }
            }
            let place = row * p(params.y_stride) + p(params.y_offset) + col;
            y[place] = sum + residual.map_or(F::zero(), |residual| residual[place]);
        }
    }
}

/// dX = scale·dY·W + dT·A + residual, into `dx`.
pub fn backward<F: Float>(
    params: &Params,
    dy: &[F],
    weight: &[F],
    panel: Option<Panel<F>>,
    residual: Option<&[F]>,
    dx: &mut [F],
) {
    let p = |value: u32| value as usize;
    let scale = F::from(params.scale).expect("a scale is finite");
    for row in 0..p(params.rows) {
        let dy_row = &dy[row * p(params.y_stride) + p(params.y_offset)..][..p(params.cols)];
        for k in 0..p(params.depth) {
            let mut sum = F::zero();
            for (col, &gradient) in dy_row.iter().enumerate() {
                sum = sum + gradient * weight[col * p(params.depth) + k];
            }
            sum = sum * scale;
            if let Some(panel) = panel {
                for r in 0..p(params.rank) {
                    sum = sum + panel.t[row * p(params.t_stride) + r] * panel.factor[r * p(params.depth) + k];
                }
            }
            let place = row * p(params.x_stride) + p(params.x_offset) + k;
            dx[place] = sum + residual.map_or(F::zero(), |residual| residual[place]);
        }
    }
}

/// The values [cols, depth] of a weight in its stored format.
pub fn decode(params: &Params, format: WeightFormat, values: &[u32], scales: &[u32]) -> Vec<f32> {
    let (depth, true_depth) = (params.depth as usize, params.true_depth as usize);
    let (packed, value) = (Packed { values, scales, depth, true_depth }, format.layout().value);
    let padding = depth - true_depth;
    let row =
        |row| (0..true_depth).map(move |k| value(&packed, row, k)).chain(std::iter::repeat_n(0.0, padding));
    (0..params.cols as usize).flat_map(row).collect()
}

fn dot<F: Float>(a: &[F], b: &[F]) -> F {
    a.iter().zip(b).fold(F::zero(), |sum, (&a, &b)| sum + a * b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::finite_difference::check_gradient;

    fn values(count: usize, seed: usize) -> Vec<f64> {
        (0..count).map(|i| ((i * 37 + seed * 101) % 97) as f64 / 48.5 - 1.0).collect()
    }

    #[test]
    fn backward_is_the_gradient_of_forward() {
        // T stands for X·Aᵀ, so the input's gradient flows through the weight and through A.
        let (rows, cols, depth, rank) = (3, 16, 8, 8);
        let params = Params {
            rank: rank as u32,
            t_stride: rank as u32,
            t_offset: [0, NONE, NONE, NONE],
            scale: 0.5,
            ..Params::plain(rows, cols, depth)
        };
        let (weight, a, b) = (values(cols * depth, 1), values(rank * depth, 2), values(cols * rank, 3));
        let (x, dy) = (values(rows * depth, 4), values(rows * cols, 5));
        let loss = |x: &[f64]| {
            let mut t = vec![0.0; rows * rank];
            forward(&Params::plain(rows, rank, depth), x, &a, None, None, &mut t);
            let mut y = vec![0.0; rows * cols];
            forward(&params, x, &weight, Some(Panel { t: &t, factor: &b }), None, &mut y);
            dot(&y, &dy)
        };
        let mut dt = vec![0.0; rows * rank];
        backward(&Params::plain(rows, cols, rank), &dy, &b, None, None, &mut dt);
        let mut dx = vec![0.0; rows * depth];
        backward(&params, &dy, &weight, Some(Panel { t: &dt, factor: &a }), None, &mut dx);
        check_gradient(loss, &x, &dx, 1e-8);
    }
}
