//! Twin of [`crate::kernels::rounding`].

use half::{bf16, f16};

use crate::format::WeightFormat;

/// Two values of `inp` in `format` for each word, the first in its low half.
///
/// # Panics
///
/// For a format other than F16 and BF16, and for an odd number of values.
pub fn round(format: WeightFormat, inp: &[f32]) -> Vec<u32> {
    let bits = |value: f32| match format {
        WeightFormat::F16 => f16::from_f32(value).to_bits(),
        WeightFormat::Bf16 => bf16::from_f32(value).to_bits(),
        other => panic!("nothing is rounded to {}", other.name()),
    };
    let word = |&[low, high]: &[f32; 2]| u32::from(bits(low)) | u32::from(bits(high)) << 16;
    let (pairs, rest) = inp.as_chunks();
    assert!(rest.is_empty(), "values fill whole words");
    pairs.iter().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that are as near to two others go to the even one, and others to the nearest.
    #[test]
    fn values_go_to_the_nearest_and_to_the_even_one_of_two() {
        let ulp = [(WeightFormat::Bf16, 7), (WeightFormat::F16, 10)];
        for (format, bits) in ulp {
            let unit = 2f32.powi(-bits);
            let steps = |value: f32| {
                round(format, &[1.0 + value * unit, 0.0])[0] as i32 - round(format, &[1.0, 0.0])[0] as i32
            };
            assert_eq!(
                [0.5, 1.5, 2.5, 0.499, 0.501, 1.499].map(steps),
                [0, 2, 2, 0, 1, 1],
                "{}",
                format.name()
            );
        }
        assert_eq!(round(WeightFormat::F16, &[65519.0, -65520.0]), [0xfc00_7bff]);
    }
}
