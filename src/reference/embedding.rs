//! Twin of [`crate::kernels::embedding`].

use num_traits::Float;

use crate::kernels::embedding::Params;

/// Writes the rows of `out` [rows, depth] whose id lies in the slab `table` [n_ids, depth].
pub fn forward<F: Float>(params: &Params, ids: &[u32], table: &[F], out: &mut [F]) {
    let depth = params.depth as usize;
    let slab = params.first_id..params.first_id + params.n_ids;
    for (&id, out) in ids.iter().zip(out.chunks_exact_mut(depth)) {
        if slab.contains(&id) {
            let row = (id - params.first_id) as usize;
            let scale = F::from(params.scale).expect("a float");
            for (out, &value) in out.iter_mut().zip(&table[row * depth..][..depth]) {
                *out = scale * value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_slabs_make_one_table_each_with_its_scale() {
        let table: Vec<f64> = (0..5 * 4).map(f64::from).collect();
        let ids = [4, 0, 2, 1, 9];
        let mut out = vec![-1.0; 5 * 4];
        forward(
            &Params { rows: 5, depth: 4, first_id: 0, n_ids: 2, scale: 1.0 },
            &ids,
            &table[..8],
            &mut out,
        );
        forward(
            &Params { rows: 5, depth: 4, first_id: 2, n_ids: 3, scale: 0.5 },
            &ids,
            &table[8..],
            &mut out,
        );
        let firsts: Vec<f64> = out.iter().step_by(4).copied().collect();
        assert_eq!(firsts, [8.0, 0.0, 4.0, 4.0, -1.0]);
    }
}
