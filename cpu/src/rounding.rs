//! Values of 32 bits rounded to 16; `shaders/rounding.wgsl` says how.

use core::marker::PhantomData;

use crate::args::Args;
use crate::lanes::{TASK, part};
use crate::linear::{Bf16, F16};
use crate::params::rounding::Params;
use crate::simd::Vector;
use crate::table::Kernel;

/// Operands: inp [n], out [n / 2 words].
pub struct Rounding<F>(PhantomData<F>);

/// A format of 16 bits.
pub trait Nearest {
    /// The bits of the value nearest to that of `bits`.
    fn nearest(bits: u32) -> u32;
}

/// The whole number nearest to bits / 2^shift, and of two the even one; shift above 0.
#[inline(always)]
fn whole(bits: u32, shift: u32) -> u32 {
    bits.wrapping_add((1 << (shift - 1)) - 1 + (bits >> shift & 1)) >> shift
}

impl Nearest for Bf16 {
    #[inline(always)]
    fn nearest(bits: u32) -> u32 {
        // A NaN keeps one of its lowest bits set, lest it became infinite.
        if bits & 0x7fff_ffff > 0x7f80_0000 { bits >> 16 | 0x40 } else { whole(bits, 16) }
    }
}

impl Nearest for F16 {
    #[inline(always)]
    fn nearest(bits: u32) -> u32 {
        let magnitude = bits & 0x7fff_ffff;
        // Exponents of f16 are less by 112, and anything above is infinite.
        let normal = whole(magnitude.wrapping_sub(112 << 23), 13).min(0x7c00);
        // Below 2⁻¹⁴ the bits of f16 count units of 2⁻²⁴; below 2⁻²⁶ there are none.
        let exponent = (magnitude >> 23).min(112);
        let subnormal = whole(magnitude & 0x7f_ffff | 0x80_0000, (126 - exponent).min(25));
        let finite = if magnitude < 113 << 23 { subnormal } else { normal };
        let value = if magnitude > 0x7f80_0000 { magnitude >> 13 & 0x3ff | 0x7e00 } else { finite };
        bits >> 16 & 0x8000 | value
    }
}

impl<F: Nearest> Kernel for Rounding<F> {
    fn tasks(args: &Args) -> u32 {
        args.params::<Params>().n.div_ceil(TASK as u32)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let own = part(task, TASK as u32, args.params::<Params>().n);
        let pairs = args.words(0)[own.clone()].as_chunks::<2>().0;
        // SAFETY: Parts of tasks are disjoint, and begin and end with whole words.
        let out = unsafe { args.output(1).slice(own.start / 2..own.end / 2) };
        for (out, &[low, high]) in out.iter_mut().zip(pairs) {
            *out = f32::from_bits(F::nearest(low) | F::nearest(high) << 16);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::params::rounding::Params;
    use crate::testing::{from_words, random, run};

    /// The bits that each name's values of 16 bits have, widened again.
    fn widened(name: &str, words: &[f32]) -> Vec<f32> {
        let halves = words.iter().flat_map(|word| [word.to_bits() & 0xffff, word.to_bits() >> 16]);
        let of_f16 = |half: u32| {
            let [sign, exponent, mantissa] = [half >> 15, half >> 10 & 31, half & 0x3ff];
            let magnitude = match exponent {
                0 => mantissa as f32 / (1 << 24) as f32,
                31 => f32::INFINITY,
                _ => f32::from_bits((exponent + 112) << 23 | mantissa << 13),
            };
            if sign == 1 { -magnitude } else { magnitude }
        };
        halves
            .map(|half| if name == "rounding.f16" { of_f16(half) } else { f32::from_bits(half << 16) })
            .collect()
    }

    #[test]
    fn values_are_the_nearest() {
        let share = [("rounding.bf16", 2f32.powi(-8)), ("rounding.f16", 2f32.powi(-11))];
        for n in [4usize, 8196, 20_000] {
            let inp = random(1, n);
            for (name, share) in share {
                for got in run(name, &Params { n: n as u32 }, &[&inp, &from_words(&vec![u32::MAX; n / 2])]) {
                    for (got, want) in widened(name, &got[1]).into_iter().zip(&inp) {
                        assert!(
                            (got - want).abs() <= want.abs() * share + 2f32.powi(-25),
                            "{got} for {want}"
                        );
                    }
                }
            }
        }
    }

    /// Of two that are as near the even one is taken, and what is beyond the greatest f16 is infinite.
    #[test]
    fn halves_go_to_the_even_one() {
        let bits = [0x3f80_8000, 0x3f81_8000, 0xbf80_8001, 0x7f7f_ffff];
        for got in run("rounding.bf16", &Params { n: 4 }, &[&from_words(&bits), &[0.0; 2]]) {
            assert_eq!(
                got[1].iter().map(|word| word.to_bits()).collect::<Vec<_>>(),
                [0x3f82_3f80, 0x7f80_bf81]
            );
        }
        let values = [65519.0, -65520.0, 3.0 * 2f32.powi(-25), 2f32.powi(-25)];
        for got in run("rounding.f16", &Params { n: 4 }, &[&values, &[0.0; 2]]) {
            assert_eq!(got[1].iter().map(|word| word.to_bits()).collect::<Vec<_>>(), [0xfc00_7bff, 2]);
        }
    }
}
