//! Twin of [`crate::kernels::kv_append`].

use crate::kernels::kv_append::{Params, SKIP};

/// Writes the key and value columns of `qkv` into the rows of `cache` that `positions` names.
pub fn apply<F: Copy>(params: &Params, qkv: &[F], positions: &[u32], cache: &mut [F]) {
    let width = params.kv_width as usize;
    for (row, &position) in positions.iter().enumerate().take(params.rows as usize) {
        if position == SKIP {
            continue;
        }
        let to = position as usize * params.cache_stride as usize;
        for (part, offset) in [params.k_offset, params.v_offset].into_iter().enumerate() {
            let from = row * params.qkv_stride as usize + offset as usize;
            cache[to + part * width..to + (part + 1) * width].copy_from_slice(&qkv[from..from + width]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_keys_before_values_and_skips() {
        let params =
            Params { rows: 2, qkv_stride: 16, k_offset: 4, v_offset: 12, kv_width: 4, cache_stride: 12 };
        let qkv: Vec<u32> = (0..32).collect();
        let mut cache = vec![99; 36];
        apply(&params, &qkv, &[2, SKIP], &mut cache);
        assert_eq!(cache[24..], [4, 5, 6, 7, 12, 13, 14, 15, 99, 99, 99, 99]);
        assert!(cache[..24].iter().all(|&x| x == 99), "other rows stay: {cache:?}");
    }
}
