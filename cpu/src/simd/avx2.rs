//! Eight lanes in one register of AVX2, with FMA and F16C.
//!
//! Every function is inlined into one that has these instructions, which the safety of all blocks here rests on.

use core::arch::x86_64::*;

use super::Vector;
use crate::params::NF4_CODES;

#[derive(Clone, Copy)]
pub struct Avx2(__m256);

super::operators! { Avx2,
    // SAFETY: See above.
    Add add |a: Avx2, b: Avx2| Avx2(unsafe { _mm256_add_ps(a.0, b.0) });
    // SAFETY: See above.
    Sub sub |a: Avx2, b: Avx2| Avx2(unsafe { _mm256_sub_ps(a.0, b.0) });
    // SAFETY: See above.
    Mul mul |a: Avx2, b: Avx2| Avx2(unsafe { _mm256_mul_ps(a.0, b.0) });
    // SAFETY: See above.
    Div div |a: Avx2, b: Avx2| Avx2(unsafe { _mm256_div_ps(a.0, b.0) });
}

#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
fn with_avx2<R>(f: impl FnOnce() -> R) -> R {
    f()
}

impl Vector for Avx2 {
    #[inline(always)]
    fn outlined<R>(f: impl FnOnce() -> R) -> R {
        // SAFETY: See above.
        unsafe { with_avx2(f) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: The caller promises eight values.
        Avx2(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: The caller promises eight places.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: See above.
        Avx2(unsafe { _mm256_set1_ps(value) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: See above.
        Avx2(unsafe { _mm256_fmadd_ps(self.0, factor.0, addend.0) })
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: See above.
        Avx2(unsafe { _mm256_sqrt_ps(self.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: See above. The instruction gives its second operand where they are not ordered.
        Avx2(unsafe { _mm256_max_ps(other.0, self.0) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: As for max.
        Avx2(unsafe { _mm256_min_ps(other.0, self.0) })
    }

    #[inline(always)]
    fn less(self, other: Self) -> Self {
        // SAFETY: See above.
        Avx2(unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, other.0) })
    }

    #[inline(always)]
    fn select(mask: Self, then: Self, otherwise: Self) -> Self {
        // SAFETY: See above.
        Avx2(unsafe { _mm256_blendv_ps(otherwise.0, then.0, mask.0) })
    }

    #[inline(always)]
    fn times_power_of_2(self, n: Self) -> Self {
        // SAFETY: See above.
        unsafe {
            let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(n.0));
            Avx2(_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(self.0), exponent)))
        }
    }

    #[inline(always)]
    fn from_f16(words: [u32; 4]) -> Self {
        // SAFETY: See above.
        unsafe { Avx2(_mm256_cvtph_ps(core::mem::transmute::<[u32; 4], __m128i>(words))) }
    }

    #[inline(always)]
    fn from_bf16(words: [u32; 4]) -> Self {
        // SAFETY: See above.
        unsafe {
            let halves = _mm256_cvtepu16_epi32(core::mem::transmute::<[u32; 4], __m128i>(words));
            Avx2(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves)))
        }
    }

    #[inline(always)]
    fn from_nf4(word: u32) -> Self {
        // SAFETY: See above; the table has 16 values.
        unsafe {
            let (low, high) =
                (_mm256_loadu_ps(NF4_CODES.as_ptr()), _mm256_loadu_ps(NF4_CODES.as_ptr().add(8)));
            let shifts = _mm256_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24);
            let codes = _mm256_srlv_epi32(_mm256_set1_epi32(word as i32), shifts);
            // The permutation looks at three bits of a code; the fourth says which half of the table is meant.
            let is_high = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(codes));
            let (low, high) = (_mm256_permutevar8x32_ps(low, codes), _mm256_permutevar8x32_ps(high, codes));
            Avx2(_mm256_blendv_ps(low, high, is_high))
        }
    }

    #[inline(always)]
    fn transposed(rows: [Self; 8]) -> [Self; 8] {
        let [a, b, c, d, e, f, g, h] = rows;
        // SAFETY: See above.
        unsafe {
            let (top, bottom) = (quads(a.0, b.0, c.0, d.0), quads(e.0, f.0, g.0, h.0));
            super::eight!(|i| Avx2(if i < 4 {
                _mm256_permute2f128_ps::<0x20>(top[i], bottom[i])
            } else {
                _mm256_permute2f128_ps::<0x31>(top[i - 4], bottom[i - 4])
            }))
        }
    }
}

/// Transposes the 4 × 4 values of each half.
#[inline(always)]
unsafe fn quads(a: __m256, b: __m256, c: __m256, d: __m256) -> [__m256; 4] {
    // SAFETY: See above.
    unsafe {
        let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
        let (ab_high, cd_high) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
        [
            _mm256_shuffle_ps::<0x44>(ab, cd),
            _mm256_shuffle_ps::<0xee>(ab, cd),
            _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
            _mm256_shuffle_ps::<0xee>(ab_high, cd_high),
        ]
    }
}
