//! Eight lanes of any machine, without fused multiply-add. The compiler makes of it what the machine always has.

use core::array::from_fn;

use super::{Vector, f16_to_f32};
use crate::params::NF4_CODES;

#[derive(Clone, Copy)]
#[repr(align(32))]
pub struct Array([f32; 8]);

impl Array {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Array(from_fn(|i| f(self.0[i], other.0[i])))
    }
}

super::operators! { Array,
    Add add |a: Array, b: Array| a.zip(b, |a, b| a + b);
    Sub sub |a: Array, b: Array| a.zip(b, |a, b| a - b);
    Mul mul |a: Array, b: Array| a.zip(b, |a, b| a * b);
    Div div |a: Array, b: Array| a.zip(b, |a, b| a / b);
}

impl Vector for Array {
    #[inline(never)]
    fn outlined<R>(f: impl FnOnce() -> R) -> R {
        f()
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: The caller promises eight values.
        Array(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: The caller promises eight places.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Array([value; 8])
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        self * factor + addend
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        Array(self.0.map(f32::sqrt))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { b } else { a })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if b < a { b } else { a })
    }

    #[inline(always)]
    fn less(self, other: Self) -> Self {
        self.zip(other, |a, b| f32::from_bits(if a < b { u32::MAX } else { 0 }))
    }

    #[inline(always)]
    fn select(mask: Self, then: Self, otherwise: Self) -> Self {
        Array(from_fn(|i| if mask.0[i].to_bits() != 0 { then.0[i] } else { otherwise.0[i] }))
    }

    #[inline(always)]
    fn times_power_of_2(self, n: Self) -> Self {
        self.zip(n, |value, n| f32::from_bits(value.to_bits().wrapping_add(n.to_bits() << 23)))
    }

    #[inline(always)]
    fn from_f16(words: [u32; 4]) -> Self {
        Array(from_fn(|i| f16_to_f32((words[i / 2] >> (16 * (i % 2))) & 0xffff)))
    }

    #[inline(always)]
    fn from_bf16(words: [u32; 4]) -> Self {
        Array(from_fn(|i| f32::from_bits(words[i / 2] >> (16 * (i % 2)) << 16)))
    }

    #[inline(always)]
    fn from_nf4(word: u32) -> Self {
        Array(from_fn(|i| NF4_CODES[(word >> (8 * (i / 2) + 4 * (1 - i % 2)) & 15) as usize]))
    }

    #[inline(always)]
    fn transposed(rows: [Self; 8]) -> [Self; 8] {
        from_fn(|j| Array(from_fn(|i| rows[i].0[j])))
    }
}
