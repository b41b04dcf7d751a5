//! Vectors of eight f32, in which all kernels compute, so that sums have the same order on every machine.
//!
//! There are two flavours: with fused multiply-add and without. Kernels of one flavour give the same bits everywhere.
//! fearless_simd has no relaxed multiply-add on WebAssembly and no look-up of 4-bit codes, so these vectors are our own.

#[cfg(not(target_arch = "wasm32"))]
mod array;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "wasm32")]
mod wasm;

use core::ops::{Add, Div, Mul, Sub};

use crate::args::Args;
use crate::table::Kernel;

/// Vectors that need no more than the machine always has.
#[cfg(not(target_arch = "wasm32"))]
pub type Plain = array::Array;
#[cfg(target_arch = "wasm32")]
pub type Plain = wasm::Pair;

/// A flavour of SIMD, lesser first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Products are rounded before they are added.
    Unfused,
    /// Fused multiply-add: AVX2 with FMA, or relaxed SIMD in WebAssembly.
    Fused,
}

impl Level {
    /// The best that the machine has; in WebAssembly that which the module was compiled for.
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        let has_fused = std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma")
            && std::arch::is_x86_feature_detected!("f16c");
        #[cfg(not(target_arch = "x86_64"))]
        let has_fused = cfg!(target_feature = "relaxed-simd");
        if has_fused { Level::Fused } else { Level::Unfused }
    }

    /// The flavour's name in checkpoints.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Unfused => "unfused",
            Level::Fused => "fused",
        }
    }
}

/// Runs a task without fused multiply-add; in WebAssembly as the module was compiled.
///
/// # Safety
///
/// None is needed; the type is that of [`fused`].
pub unsafe fn unfused<K: Kernel>(args: &Args, task: u32, scratch: &mut [f32]) {
    #[cfg(target_arch = "wasm32")]
    K::run::<wasm::Pair>(args, task, scratch);
    #[cfg(not(target_arch = "wasm32"))]
    K::run::<array::Array>(args, task, scratch);
}

/// Runs a task with fused multiply-add where the machine has it.
///
/// # Safety
///
/// The machine has what [`Level::Fused`] needs.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn fused<K: Kernel>(args: &Args, task: u32, scratch: &mut [f32]) {
    K::run::<avx2::Avx2>(args, task, scratch);
}

#[cfg(not(target_arch = "x86_64"))]
pub use unfused as fused;

/// Eight f32.
pub trait Vector:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// Calls `f` in a function of its own that has the vector's instructions: for what is too large to be inlined
    /// wherever it is used. `f` is inlined there, so what it calls is `#[inline(always)]`.
    fn outlined<R>(f: impl FnOnce() -> R) -> R;

    /// # Safety
    ///
    /// Eight values can be read there.
    unsafe fn load(from: *const f32) -> Self;

    /// # Safety
    ///
    /// Eight values can be written there.
    unsafe fn store(self, to: *mut f32);

    fn splat(value: f32) -> Self;

    /// `self`·`factor` + `addend`, rounded once or twice as the flavour has it.
    fn mul_add(self, factor: Self, addend: Self) -> Self;

    fn sqrt(self) -> Self;

    /// The greater, or `self` where one of them is not a number.
    fn max(self, other: Self) -> Self;

    /// The lesser, or `self` where one of them is not a number.
    fn min(self, other: Self) -> Self;

    /// A mask for [`Vector::select`]: where `self` < `other`.
    fn less(self, other: Self) -> Self;

    /// `then` where the mask holds, `otherwise` elsewhere.
    fn select(mask: Self, then: Self, otherwise: Self) -> Self;

    /// `self`·2ⁿ by its bits, for n in the low bits of `n`, as adding 1.5·2²³ to a whole number leaves it.
    fn times_power_of_2(self, n: Self) -> Self;

    /// Eight f16, two in each word, the first in the low half.
    fn from_f16(words: [u32; 4]) -> Self;

    /// Eight bf16, laid as f16 are.
    fn from_bf16(words: [u32; 4]) -> Self;

    /// The values of the eight 4-bit codes of a word before their scale; the even one of a byte is in its high half.
    fn from_nf4(word: u32) -> Self;

    /// What [`Vector::from_nf4`] makes of two words.
    #[inline(always)]
    fn from_nf4_pair(words: [u32; 2]) -> [Self; 2] {
        [Self::from_nf4(words[0]), Self::from_nf4(words[1])]
    }

    /// Lane i of row j of what comes back is lane j of row i.
    fn transposed(rows: [Self; 8]) -> [Self; 8];

    #[inline(always)]
    fn of(values: &[f32; 8]) -> Self {
        // SAFETY: There are eight values.
        unsafe { Self::load(values.as_ptr()) }
    }

    #[inline(always)]
    fn put(self, to: &mut [f32; 8]) {
        // SAFETY: There are eight places.
        unsafe { self.store(to.as_mut_ptr()) }
    }

    #[inline(always)]
    fn to_array(self) -> [f32; 8] {
        let mut lanes = [0.0; 8];
        self.put(&mut lanes);
        lanes
    }

    #[inline(always)]
    fn zero() -> Self {
        Self::splat(0.0)
    }

    /// The sum of the lanes, of halves first.
    #[inline(always)]
    fn sum(self) -> f32 {
        let lanes = self.to_array();
        let fours: [f32; 4] = core::array::from_fn(|i| lanes[i] + lanes[i + 4]);
        (fours[0] + fours[2]) + (fours[1] + fours[3])
    }

    /// The greatest lane.
    #[inline(always)]
    fn greatest(self) -> f32 {
        self.to_array()
            .into_iter()
            .fold(f32::NEG_INFINITY, |most, lane| if lane > most { lane } else { most })
    }

    /// eˣ within 1.5 units of the last place; zero where it would be subnormal. The polynomial is Cephes' `expf`.
    #[inline(always)]
    fn exp(self) -> Self {
        const ROUNDS: f32 = 12_582_912.0;
        let n = self.mul_add(Self::splat(core::f32::consts::LOG2_E), Self::splat(ROUNDS));
        let whole = n - Self::splat(ROUNDS);
        let r = whole.mul_add(Self::splat(-0.693_359_4), self);
        let r = whole.mul_add(Self::splat(2.121_944_4e-4), r);
        let mut p = Self::splat(1.987_569_1e-4);
        for factor in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
            p = p.mul_add(r, Self::splat(factor));
        }
        let power = p.mul_add(r * r, r) + Self::splat(1.0);
        let power = power.times_power_of_2(n);
        let power = Self::select(self.less(Self::splat(-87.336_54)), Self::zero(), power);
        Self::select(Self::splat(88.722_84).less(self), Self::splat(f32::INFINITY), power)
    }
}

/// Eight values of an expression in `i`. Closures, as `array::from_fn` takes them, are not always inlined, and then lack the
/// instructions of the vector.
macro_rules! eight {
    (|$i:ident| $value:expr) => {
        [
            {
                let $i = 0;
                $value
            },
            {
                let $i = 1;
                $value
            },
            {
                let $i = 2;
                $value
            },
            {
                let $i = 3;
                $value
            },
            {
                let $i = 4;
                $value
            },
            {
                let $i = 5;
                $value
            },
            {
                let $i = 6;
                $value
            },
            {
                let $i = 7;
                $value
            },
        ]
    };
}
pub(crate) use eight;

/// The value of an f16. A subnormal one becomes a normal f32 by what it adds to 2⁻¹⁴, since subnormal f32 are slow.
#[inline(always)]
pub fn f16_to_f32(half: u32) -> f32 {
    const UNIT: u32 = 0x3880_0000;
    let magnitude = half & 0x7fff;
    let shifted = magnitude << 13;
    let bits = match magnitude {
        0..0x400 => (f32::from_bits(shifted + UNIT) - f32::from_bits(UNIT)).to_bits(),
        0x400..0x7c00 => shifted + 0x3800_0000,
        _ => shifted | 0x7f80_0000,
    };
    f32::from_bits(bits | (half & 0x8000) << 16)
}

/// Operators from functions on a vector's parts.
macro_rules! operators {
    ($vector:ty, $($operator:ident $method:ident $f:expr;)*) => {
        $(impl core::ops::$operator for $vector {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                $f(self, other)
            }
        })*
    };
}
use operators;
