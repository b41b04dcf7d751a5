//! Twin of [`crate::kernels::rows`].

use num_traits::Float;

use crate::kernels::rows::{DEAD, Params};

fn block<'a>(params: &Params, index: &'a [u32]) -> &'a [u32] {
    &index[params.first as usize..][..params.count as usize]
}

/// Returns `out` [count, stride].
pub fn gather<F: Float>(params: &Params, inp: &[F], index: &[u32]) -> Vec<F> {
    let stride = params.stride as usize;
    let mut out = vec![F::zero(); params.count as usize * stride];
    for (&row, out) in block(params, index).iter().zip(out.chunks_exact_mut(stride)) {
        if row != DEAD {
            out.copy_from_slice(&inp[row as usize * stride..][..stride]);
        }
    }
    out
}

/// Writes the rows of `out` [M, stride] that live indices name.
pub fn scatter<F: Float>(params: &Params, inp: &[F], index: &[u32], out: &mut [F]) {
    let stride = params.stride as usize;
    for (&row, inp) in block(params, index).iter().zip(inp.chunks_exact(stride)) {
        if row != DEAD {
            out[row as usize * stride..][..stride].copy_from_slice(inp);
        }
    }
}

/// Multiplies the rows of `out` [M, stride] that live indices name.
pub fn scale<F: Float>(params: &Params, index: &[u32], weight: &[F], out: &mut [F]) {
    let stride = params.stride as usize;
    let own = &weight[params.first as usize..];
    for (&row, &weight) in block(params, index).iter().zip(own).filter(|(row, _)| **row != DEAD) {
        out[row as usize * stride..][..stride].iter_mut().for_each(|value| *value = *value * weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scatter_is_the_gradient_of_gather() {
        let params = Params { count: 3, stride: 2, first: 1 };
        let index = [0, 3, DEAD, 1];
        let gathered = gather(&params, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0f64], &index);
        assert_eq!(gathered, [6.0, 7.0, 0.0, 0.0, 2.0, 3.0]);
        let mut out = [0.0f64; 8];
        scatter(&params, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &index, &mut out);
        assert_eq!(out, [0.0, 0.0, 5.0, 6.0, 0.0, 0.0, 1.0, 2.0]);
    }
}
