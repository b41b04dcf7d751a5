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

/// Adds the gradient of the slab to `dtable` [n_ids, depth], of the rows that `order` names.
pub fn backward<F: Float>(params: &Params, ids: &[u32], order: &[u32], dout: &[F], dtable: &mut [F]) {
    let depth = params.depth as usize;
    let slab = params.first_id..params.first_id + params.n_ids;
    let scale = F::from(params.scale).expect("a float");
    for &row in order.iter().filter(|&&row| row != u32::MAX) {
        let id = ids[row as usize];
        if slab.contains(&id) {
            let to = (id - params.first_id) as usize * depth;
            for (sum, &value) in dtable[to..][..depth].iter_mut().zip(&dout[row as usize * depth..]) {
                *sum = *sum + scale * value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::finite_difference::check_gradient;

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

    #[test]
    fn backward_is_the_gradient() {
        let params = Params { rows: 5, depth: 4, first_id: 1, n_ids: 3, scale: 0.5 };
        let ids = [3, 0, 2, 3, 9];
        let dout: Vec<f64> = (0..20).map(|i| f64::from(i).sin()).collect();
        let table: Vec<f64> = (0..12).map(|i| f64::from(i).cos()).collect();
        let loss = |table: &[f64]| {
            let mut out = vec![0.0; 20];
            forward(&params, &ids, table, &mut out);
            out.iter().zip(&dout).map(|(a, b)| a * b).sum()
        };
        let mut dtable = vec![0.0; 12];
        backward(&params, &ids, &[1, 2, 0, 3, 4], &dout, &mut dtable);
        check_gradient(loss, &table, &dtable, 1e-8);
    }
}
