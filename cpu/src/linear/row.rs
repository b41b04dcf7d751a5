//! One row of X: every value of the weight is read once and never packed.

use super::weight::{F32, Format, Weight};
use super::{Operands, sections};
use crate::params::linear::NONE;
use crate::simd::{Vector, eight};

/// y = scale·W·x + B·t + residual for the columns of `part`.
#[inline(always)]
pub fn forward<V: Vector, F: Format>(operands: &Operands<F, true>, cols: core::ops::Range<usize>) {
    let params = operands.params;
    let depth = params.depth as usize;
    let x = &operands.x[params.x_offset as usize..][..depth];
    for col in cols.step_by(8) {
        let weight = &operands.weight;
        let mut sums =
            sum_of_lanes(eight!(|i| F::products::<V>(weight, col + i, x))) * V::splat(params.scale);
        if let Some((index, start, _)) = sections(params.section_end, col..col + 8).next()
            && params.rank > 0
            && params.t_offset[index] != NONE
        {
            let rank = params.rank as usize;
            let t = &operands.t[params.t_offset[index] as usize..][..rank];
            let b = Weight::dense(operands.factor, rank);
            let first = params.b_base[index] as usize / rank + col - start;
            sums = sums + sum_of_lanes(eight!(|i| F32::products::<V>(&b, first + i, t)));
        }
        let place = params.y_offset as usize + col;
        if let Some(residual) = operands.residual {
            sums = sums + V::of(residual[place..].first_chunk().expect("the residual is as long as y"));
        }
        // SAFETY: A task has its columns to itself.
        let y = unsafe { operands.y.slice(place..place + 8) };
        sums.put(y.first_chunk_mut().expect("there are eight"));
    }
}

/// Lane i is the sum of the lanes of vector i.
#[inline(always)]
fn sum_of_lanes<V: Vector>(vectors: [V; 8]) -> V {
    let [a, b, c, d, e, f, g, h] = V::transposed(vectors);
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
