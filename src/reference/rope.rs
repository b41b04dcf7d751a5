//! Twin of [`crate::kernels::rope`].

use num_traits::Float;

use crate::kernels::rope::Params;

/// Turns the first `rotary_dim` values of the query and key heads of `qkv` in place, as `apply_rotary_pos_emb` of
/// transformers does with its tables of as many columns, whose halves are equal.
pub fn apply<F: Float>(params: &Params, qkv: &mut [F], positions: &[u32], cos: &[F], sin: &[F]) {
    let (dim, table_stride) = (params.rotary_dim as usize, params.table_stride as usize);
    let sign = F::from(params.sign).expect("a float");
    let starts: Vec<usize> = (0..params.q_heads)
        .map(|head| params.q_offset + head * params.head_dim)
        .chain((0..params.kv_heads).map(|head| params.k_offset + head * params.head_dim))
        .map(|column| column as usize)
        .collect();
    for row in 0..params.rows as usize {
        let table = positions[row] as usize * table_stride;
        for start in &starts {
            let base = row * params.stride as usize + start;
            let head: Vec<F> = qkv[base..base + dim].to_vec();
            for i in 0..dim {
                let rotated = if i < dim / 2 { -head[i + dim / 2] } else { head[i - dim / 2] };
                let angle = table + i % (dim / 2);
                qkv[base + i] = head[i] * cos[angle] + sign * rotated * sin[angle];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::finite_difference::check_gradient;

    const PARAMS: Params = Params {
        rows: 3,
        stride: 40,
        q_offset: 4,
        k_offset: 20,
        q_heads: 2,
        kv_heads: 1,
        head_dim: 8,
        rotary_dim: 8,
        sign: 1.0,
        table_stride: 6,
    };
    const POSITIONS: [u32; 3] = [4, 0, 7];

    fn tables() -> (Vec<f64>, Vec<f64>) {
        let angle = |entry: usize| (entry / 6) as f64 * 10f64.powi(-((entry % 6) as i32));
        ((0..48).map(|entry| angle(entry).cos()).collect(), (0..48).map(|entry| angle(entry).sin()).collect())
    }

    fn wave(n: usize, step: f64) -> Vec<f64> {
        (0..n).map(|i| (i as f64 * step).sin()).collect()
    }

    #[test]
    fn turns_a_plane_by_its_angle() {
        let params = Params {
            rows: 1,
            stride: 4,
            q_offset: 0,
            q_heads: 1,
            kv_heads: 0,
            head_dim: 4,
            rotary_dim: 4,
            table_stride: 2,
            ..PARAMS
        };
        let (angle, slow) = (0.5f64, 0.25f64);
        let mut x = vec![1.0, 0.0, 0.0, 2.0];
        apply(&params, &mut x, &[0], &[angle.cos(), slow.cos()], &[angle.sin(), slow.sin()]);
        let want = [angle.cos(), -2.0 * slow.sin(), angle.sin(), 2.0 * slow.cos()];
        assert!(x.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-15), "{x:?} against {want:?}");
    }

    /// Whole heads, and six of their eight values by tables that are scaled by an attention factor.
    #[test]
    fn backward_is_the_gradient_and_leaves_what_does_not_turn() {
        let whole = (PARAMS, 1.0, vec![]);
        let part = (Params { rotary_dim: 6, ..PARAMS }, 1.25, vec![10, 11, 18, 19, 26, 27]);
        for (params, factor, still) in [whole, part] {
            let (cos, sin) = tables();
            let [cos, sin] = [cos, sin].map(|table| table.iter().map(|x| factor * x).collect::<Vec<f64>>());
            let (x, weights) = (wave(120, 0.7), wave(120, 1.3));
            let mut gradient = weights.clone();
            apply(&Params { sign: -1.0, ..params }, &mut gradient, &POSITIONS, &cos, &sin);
            for column in (0..4).chain(still).chain(28..40) {
                assert_eq!(gradient[column], weights[column], "column {column} does not turn");
            }
            let loss = |x: &[f64]| {
                let mut y = x.to_vec();
                apply(&params, &mut y, &POSITIONS, &cos, &sin);
                y.iter().zip(&weights).map(|(y, w)| y * w).sum()
            };
            check_gradient(loss, &x, &gradient, 1e-7);
        }
    }
}
