//! bitsandbytes' FP4: a sign, two bits of exponent and one of mantissa, in blocks of 64 as NF4 has them.

use super::Layout;
use super::nf4::{NF4, NF4_ANY, value_by};

/// The value of each code before its scale, as `get_4bit_type("fp4")` of bitsandbytes has them.
pub const FP4_CODES: [f32; 16] = [
    0.0,
    0.005_208_333_5,
    0.666_666_7,
    1.0,
    0.333_333_34,
    0.5,
    0.166_666_67,
    0.25,
    0.0,
    -0.005_208_333_5,
    -0.666_666_7,
    -1.0,
    -0.333_333_34,
    -0.5,
    -0.166_666_67,
    -0.25,
];

pub(super) const FP4: Layout =
    Layout { name: "fp4", value: |weight, row, k| value_by(&FP4_CODES, weight, row, k), ..NF4 };

pub(super) const FP4_ANY: Layout = Layout { name: "fp4_any", value: FP4.value, ..NF4_ANY };
