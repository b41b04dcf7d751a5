//! Twin of [`crate::kernels::nested_scales`].

use num_traits::Float;

use crate::format::dynamic_map;
use crate::kernels::nested_scales::Params;

/// Returns the scales [rows, blocks]. In f32 they are rounded as bitsandbytes rounds them.
pub fn expand<F: Float>(params: &Params, nested: &[u32]) -> Vec<F> {
    let float = |bits: u32| F::from(f32::from_bits(bits)).expect("a float");
    let mut scales = Vec::with_capacity(params.scales());
    for row in nested.chunks(4 + params.words as usize) {
        for block in 0..params.blocks {
            let code = row[4 + block as usize / 4] >> (8 * (block % 4)) & 255;
            let value = F::from(dynamic_map()[code as usize]).expect("a float");
            scales.push(value * float(row[usize::from(block >= row[2])]) + float(row[3]));
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
        for (rows, blocks) in [(8, 6), (40, 9), (16, 64), (24, 172), (8, 256)] {
            let mut absmax: Vec<f32> =
                (0..rows * blocks).map(|i| 0.02 + 0.01 * (i as f32 * 0.7).sin()).collect();
            let nested: NestedAbsmax = double_quantize(&mut absmax);
            let params = Params::new(rows, 64 * blocks);
            assert_eq!(expand::<f32>(&params, &nested.rows(blocks, 0..rows)), absmax, "{rows} × {blocks}");
            let some = Params::new(5, 64 * blocks);
            assert_eq!(expand::<f32>(&some, &nested.rows(blocks, 3..8)), absmax[3 * blocks..8 * blocks]);
        }
    }
}
