//! Eight lanes in two registers of SIMD128, with relaxed SIMD where the module is compiled for it.
//!
//! The halves lie beside each other in memory, so that V8 can make one operation of 256 bits of two.

use core::arch::wasm32::*;

use super::Vector;
use crate::params::NF4_CODES;

#[derive(Clone, Copy)]
pub struct Pair(v128, v128);

super::operators! { Pair,
    Add add |a: Pair, b: Pair| Pair(f32x4_add(a.0, b.0), f32x4_add(a.1, b.1));
    Sub sub |a: Pair, b: Pair| Pair(f32x4_sub(a.0, b.0), f32x4_sub(a.1, b.1));
    Mul mul |a: Pair, b: Pair| Pair(f32x4_mul(a.0, b.0), f32x4_mul(a.1, b.1));
    Div div |a: Pair, b: Pair| Pair(f32x4_div(a.0, b.0), f32x4_div(a.1, b.1));
}

#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
fn mul_add(a: v128, b: v128, c: v128) -> v128 {
    f32x4_relaxed_madd(a, b, c)
}

#[cfg(not(target_feature = "relaxed-simd"))]
#[inline(always)]
fn mul_add(a: v128, b: v128, c: v128) -> v128 {
    f32x4_add(f32x4_mul(a, b), c)
}

/// Bytes of `table` by index, all of which are below 16.
#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
fn look_up(table: v128, indices: v128) -> v128 {
    i8x16_relaxed_swizzle(table, indices)
}

#[cfg(not(target_feature = "relaxed-simd"))]
#[inline(always)]
fn look_up(table: v128, indices: v128) -> v128 {
    i8x16_swizzle(table, indices)
}

/// Byte `place` of the value of each code of NF4.
const fn plane(place: usize) -> v128 {
    let mut bytes = [0; 16];
    let mut code = 0;
    while code < 16 {
        bytes[code] = NF4_CODES[code].to_le_bytes()[place];
        code += 1;
    }
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
    u8x16(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)
}

/// Where f16 in the low halves of lanes become f32; [`super::array`] says how.
#[inline(always)]
fn f16_to_f32(halves: v128) -> v128 {
    let magnitude = v128_and(halves, u32x4_splat(0x7fff));
    let shifted = u32x4_shl(magnitude, 13);
    let normal = u32x4_add(shifted, u32x4_splat(0x3800_0000));
    let unit = u32x4_splat(0x3880_0000);
    let subnormal = f32x4_sub(u32x4_add(shifted, unit), unit);
    let finite = v128_bitselect(subnormal, normal, u32x4_lt(magnitude, u32x4_splat(0x400)));
    let infinite = v128_or(shifted, u32x4_splat(0x7f80_0000));
    let bits = v128_bitselect(infinite, finite, u32x4_ge(magnitude, u32x4_splat(0x7c00)));
    v128_or(bits, u32x4_shl(v128_and(halves, u32x4_splat(0x8000)), 16))
}

/// The bytes of the first or second eight of `a` and `b` in turns.
#[inline(always)]
fn zip_bytes<const SECOND: bool>(a: v128, b: v128) -> v128 {
    if SECOND {
        u8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(a, b)
    } else {
        u8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(a, b)
    }
}

/// The same of words of 16 bits.
#[inline(always)]
fn zip_halves<const SECOND: bool>(a: v128, b: v128) -> v128 {
    if SECOND {
        u16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(a, b)
    } else {
        u16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(a, b)
    }
}

#[inline(always)]
fn words_to_v128(words: [u32; 4]) -> v128 {
    // SAFETY: Both are 16 bytes, and v128 takes all bits.
    unsafe { core::mem::transmute::<[u32; 4], v128>(words) }
}

impl Vector for Pair {
    #[inline(never)]
    fn outlined<R>(f: impl FnOnce() -> R) -> R {
        f()
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: The caller promises eight values.
        unsafe { Pair(v128_load(from.cast()), v128_load(from.cast::<v128>().add(1))) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: The caller promises eight places.
        unsafe {
            v128_store(to.cast(), self.0);
            v128_store(to.cast::<v128>().add(1), self.1);
        }
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Pair(f32x4_splat(value), f32x4_splat(value))
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Pair(mul_add(self.0, factor.0, addend.0), mul_add(self.1, factor.1, addend.1))
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        Pair(f32x4_sqrt(self.0), f32x4_sqrt(self.1))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Pair(f32x4_pmax(self.0, other.0), f32x4_pmax(self.1, other.1))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Pair(f32x4_pmin(self.0, other.0), f32x4_pmin(self.1, other.1))
    }

    #[inline(always)]
    fn less(self, other: Self) -> Self {
        Pair(f32x4_lt(self.0, other.0), f32x4_lt(self.1, other.1))
    }

    #[inline(always)]
    fn select(mask: Self, then: Self, otherwise: Self) -> Self {
        Pair(v128_bitselect(then.0, otherwise.0, mask.0), v128_bitselect(then.1, otherwise.1, mask.1))
    }

    #[inline(always)]
    fn times_power_of_2(self, n: Self) -> Self {
        Pair(u32x4_add(self.0, u32x4_shl(n.0, 23)), u32x4_add(self.1, u32x4_shl(n.1, 23)))
    }

    #[inline(always)]
    fn from_f16(words: [u32; 4]) -> Self {
        let words = words_to_v128(words);
        Pair(f16_to_f32(u32x4_extend_low_u16x8(words)), f16_to_f32(u32x4_extend_high_u16x8(words)))
    }

    #[inline(always)]
    fn from_bf16(words: [u32; 4]) -> Self {
        let (words, zero) = (words_to_v128(words), u32x4_splat(0));
        Pair(
            u16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(zero, words),
            u16x8_shuffle::<0, 12, 1, 13, 2, 14, 3, 15>(zero, words),
        )
    }

    #[inline(always)]
    fn from_nf4(word: u32) -> Self {
        Self::from_nf4_pair([word; 2])[0]
    }

    #[inline(always)]
    fn from_nf4_pair(words: [u32; 2]) -> [Self; 2] {
        // SAFETY: Both are 8 bytes, and u64 takes all bits.
        let bytes = u64x2_splat(unsafe { core::mem::transmute::<[u32; 2], u64>(words) });
        let (high, low) = (u8x16_shr(bytes, 4), v128_and(bytes, u8x16_splat(15)));
        let codes = zip_bytes::<false>(high, low);
        let (p, q) = (look_up(const { plane(0) }, codes), look_up(const { plane(1) }, codes));
        let (r, s) = (look_up(const { plane(2) }, codes), look_up(const { plane(3) }, codes));
        let (low, high) = (zip_bytes::<false>(p, q), zip_bytes::<false>(r, s));
        let first = Pair(zip_halves::<false>(low, high), zip_halves::<true>(low, high));
        let (low, high) = (zip_bytes::<true>(p, q), zip_bytes::<true>(r, s));
        [first, Pair(zip_halves::<false>(low, high), zip_halves::<true>(low, high))]
    }

    #[inline(always)]
    fn transposed(rows: [Self; 8]) -> [Self; 8] {
        let quads = |a, b, c, d| {
            let (ab, cd) = (u32x4_shuffle::<0, 4, 1, 5>(a, b), u32x4_shuffle::<0, 4, 1, 5>(c, d));
            let (ab_high, cd_high) = (u32x4_shuffle::<2, 6, 3, 7>(a, b), u32x4_shuffle::<2, 6, 3, 7>(c, d));
            [
                u64x2_shuffle::<0, 2>(ab, cd),
                u64x2_shuffle::<1, 3>(ab, cd),
                u64x2_shuffle::<0, 2>(ab_high, cd_high),
                u64x2_shuffle::<1, 3>(ab_high, cd_high),
            ]
        };
        let [a, b, c, d, e, f, g, h] = rows;
        let (top, bottom) = (quads(a.0, b.0, c.0, d.0), quads(e.0, f.0, g.0, h.0));
        let (top_high, bottom_high) = (quads(a.1, b.1, c.1, d.1), quads(e.1, f.1, g.1, h.1));
        super::eight!(|i| if i < 4 {
            Pair(top[i], bottom[i])
        } else {
            Pair(top_high[i - 4], bottom_high[i - 4])
        })
    }
}
