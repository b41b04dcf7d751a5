//! Twin of the kernels for the gradients of LoRA's factors.

use num_traits::Float;

use super::linear::section;
use crate::kernels::linear::{self, NONE};
use crate::kernels::lora_grad::Params;

/// dT = scale·dY·B for `sections` stacked layers, into `dt` [M, t_stride].
pub fn t<F: Float>(params: &linear::Params, sections: usize, dy: &[F], lora_b: &[F], dt: &mut [F]) {
    let p = |value: u32| value as usize;
    let scale = F::from(params.scale).expect("a scale is finite");
    for index in (0..sections).filter(|&index| params.t_offset[index] != NONE) {
        let first = if index == 0 { 0 } else { p(params.section_end[index - 1]) };
        for row in 0..p(params.rows) {
            for r in 0..p(params.rank) {
                let mut sum = F::zero();
                for col in first..p(params.section_end[index]) {
                    let gradient = dy[row * p(params.y_stride) + p(params.y_offset) + col];
                    sum =
                        sum + gradient * lora_b[p(params.b_base[index]) + (col - first) * p(params.rank) + r];
                }
                dt[row * p(params.t_stride) + p(params.t_offset[index]) + r] = scale * sum;
            }
        }
    }
}

/// G += scale·Uᵀ·V.
pub fn outer<F: Float>(params: &Params, u: &[F], v: &[F], gradient: &mut [F]) {
    let p = |value: u32| value as usize;
    for a in 0..p(params.height) {
        let (index, start) = section(&params.section_end, a);
        if params.v_offset[index] == NONE {
            continue;
        }
        for b in 0..p(params.width) {
            let mut sum = F::zero();
            for row in 0..p(params.rows) {
                let left = u[row * p(params.u_stride) + p(params.u_offset) + a];
                sum = sum + left * v[row * p(params.v_stride) + p(params.v_offset[index]) + b];
            }
            let place = p(params.g_base[index]) + (a - start) * p(params.width) + b;
            gradient[place] = gradient[place] + F::from(params.scale).expect("a scale is finite") * sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::finite_difference::check_gradient;
    use crate::reference::linear::{Panel, forward};

    fn values(count: usize, seed: usize) -> Vec<f64> {
        (0..count).map(|i| ((i * 37 + seed * 101) % 97) as f64 / 48.5 - 1.0).collect()
    }

    /// Two stacked layers of 8 and 16 columns, rank 8, on three rows of 8 values.
    #[test]
    fn gradients_of_both_factors_are_those_of_the_forward_pass() {
        let (rows, cols, depth, rank, scale) = (3, 24, 8, 8, 0.75f32);
        let stacked = linear::Params {
            rank: rank as u32,
            t_stride: 2 * rank as u32,
            section_end: [8, 24, u32::MAX, u32::MAX],
            t_offset: [0, rank as u32, NONE, NONE],
            b_base: [0, 8 * rank as u32, 0, 0],
            ..linear::Params::plain(rows, cols, depth)
        };
        let weight = vec![0.0; cols * depth];
        let (x, dy) = (values(rows * depth, 1), values(rows * cols, 2));
        let (a, b) = (values(2 * rank * depth, 3), values(cols * rank, 4));
        let panel_t = |a: &[f64]| {
            let mut t = vec![0.0; rows * 2 * rank];
            let params = linear::Params { scale, ..linear::Params::plain(rows, 2 * rank, depth) };
            forward(&params, &x, a, None, None, &mut t);
            t
        };
        let loss = |a: &[f64], b: &[f64]| {
            let t = panel_t(a);
            let mut y = vec![0.0; rows * cols];
            forward(&stacked, &x, &weight, Some(Panel { t: &t, factor: b }), None, &mut y);
            y.iter().zip(&dy).map(|(y, dy)| y * dy).sum::<f64>()
        };

        let of_b = Params {
            rows: rows as u32,
            u_stride: cols as u32,
            u_offset: 0,
            v_stride: stacked.t_stride,
            height: cols as u32,
            width: rank as u32,
            scale: 1.0,
            pad: 0,
            section_end: stacked.section_end,
            v_offset: stacked.t_offset,
            g_base: stacked.b_base,
        };
        let mut db = vec![0.0; b.len()];
        outer(&of_b, &dy, &panel_t(&a), &mut db);
        check_gradient(|b| loss(&a, b), &b, &db, 1e-8);

        let mut dt = vec![0.0; rows * 2 * rank];
        t(&linear::Params { scale, ..stacked }, 2, &dy, &b, &mut dt);
        let of_a = Params {
            u_stride: stacked.t_stride,
            v_stride: depth as u32,
            height: stacked.t_stride,
            width: depth as u32,
            section_end: [u32::MAX; 4],
            v_offset: [0; 4],
            g_base: [0; 4],
            ..of_b
        };
        let mut da = vec![0.0; a.len()];
        outer(&of_a, &dt, &x, &mut da);
        check_gradient(|a| loss(a, &b), &a, &da, 1e-8);
    }
}
