//! LLM.int8 (Dettmers et al. 2022, <https://arxiv.org/abs/2208.07339>) as bitsandbytes stores it: a signed byte a value,
//! and the largest magnitude of each row as f32.

use half::f16;

use super::{Layout, Packed, any, not_of_gguf};

/// What a code is worth of its row's largest magnitude, as `int8_vectorwise_dequant` of bitsandbytes has it: 1/127, rounded.
pub const INT8_STEP: f32 = 7.874_016e-3;

pub(super) const INT8: Layout = Layout {
    name: "int8",
    block: 1,
    row_words: |depth| depth.div_ceil(4),
    scale_words: |rows, _| rows,
    value: |weight, row, k| {
        let code = Packed::byte(weight.values, row * weight.depth + k) as i8;
        f32::from(code) * weight.scale(row) * INT8_STEP
    },
    pack: not_of_gguf,
    random: [any, super::unit],
};

/// Some quantised rows of a weight.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Int8Rows {
    pub codes: Vec<i8>,
    /// The largest magnitude of each row, bitsandbytes' SCB.
    pub absmax: Vec<f32>,
}

/// Appends rows of `depth` values as `Int8Params` of bitsandbytes quantises them (`int8_vectorwise_quant`): of their
/// values rounded to f16. Returns the index of a value that f16 cannot hold, where there is one.
pub fn quantize_int8(values: &[f32], depth: usize, rows: &mut Int8Rows) -> Option<usize> {
    let halves: Vec<f32> = values.iter().map(|&value| f16::from_f32(value).to_f32()).collect();
    for row in halves.chunks_exact(depth) {
        let absmax = row.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        // torch divides a number by a tensor in these two steps, and ties are near.
        let scale = if absmax == 0.0 { 0.0 } else { 1.0 / absmax * 127.0 };
        rows.codes.extend(row.iter().map(|value| (value * scale).round_ties_even() as i8));
        rows.absmax.push(absmax);
    }
    halves.iter().position(|value| value.is_infinite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_its_scale_from_its_largest_magnitude_in_f16() {
        let mut rows = Int8Rows::default();
        let values = [0.5, -1.0, 0.0, 0.25, 0.0, 0.0, 0.0, 0.0, 1.0 + 1.0 / 4096.0, 0.5, -0.125, 0.0];
        assert_eq!(quantize_int8(&values, 4, &mut rows), None);
        // 63.5 goes to the even 64, and what rounds to one in f16 is one.
        assert_eq!(rows.codes, [64, -127, 0, 32, 0, 0, 0, 0, 127, 64, -16, 0]);
        assert_eq!(rows.absmax, [1.0, 0.0, 1.0]);
        assert_eq!(quantize_int8(&[1.0, 70_000.0], 2, &mut rows), Some(1));
    }
}
