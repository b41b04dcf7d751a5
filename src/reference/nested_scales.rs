//! Twin of [`crate::kernels::nested_scales`].

use num_traits::Float;

use crate::format::{NESTED_BLOCK, dynamic_map};
use crate::kernels::nested_scales::Params;

/// Returns the scales [8 octets, blocks]. In f32 they are rounded as bitsandbytes rounds them.
pub fn expand<F: Float>(params: &Params, nested: &[u32]) -> Vec<F> {
    let float = |bits: u32| F::from(f32::from_bits(bits)).expect("a float");
    let mut scales = Vec::with_capacity(params.scales());
    let (groups, count) = (params.groups as usize, 8 * params.blocks as usize);
    for rows in nested.chunks(2 + groups + count / 4) {
        for at in 0..count {
            let (begin, there) = (rows[0] as usize % NESTED_BLOCK, rows[0] as usize / NESTED_BLOCK);
            let code = rows[2 + groups + at / 4] >> (8 * (at % 4)) & 255;
            let value = F::from(dynamic_map()[code as usize]).expect("a float");
            let scale = value * float(rows[2 + (begin + at) / NESTED_BLOCK]) + float(rows[1]);
            scales.push(if at < there { scale } else { F::zero() });
        }
    }
    scales
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{NestedAbsmax, double_quantize};

    /// What rows are packed to comes back to the bit, though groups of 256 scales begin amid rows.
    #[test]
    fn rows_have_the_scales_that_were_quantised() {
        for (rows, blocks) in [(8, 6), (40, 9), (16, 64), (24, 172), (8, 256), (16, 300)] {
            let mut absmax: Vec<f32> =
                (0..rows * blocks).map(|i| 0.02 + 0.01 * (i as f32 * 0.7).sin()).collect();
            let nested: NestedAbsmax = double_quantize(&mut absmax);
            let params = Params::new(rows, 64 * blocks);
            assert_eq!(expand::<f32>(&params, &nested.rows(blocks, 0..rows)), absmax, "{rows} × {blocks}");
            // Those of a part, which are not eight.
            let some = expand::<f32>(&Params::new(8, 64 * blocks), &nested.rows(blocks, 3..8));
            assert_eq!(some[..5 * blocks], absmax[3 * blocks..8 * blocks]);
            assert_eq!(some[5 * blocks..], vec![0.0; 3 * blocks]);
        }
    }
}
