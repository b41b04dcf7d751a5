use tabtune_cpu::Level;

use crate::params::NF4_CODES;
use crate::simd::Vector;
use crate::testing::{levels, random};

/// Runs a test that is generic over the vector with every flavour that the machine has.
macro_rules! with_every_level {
    ($test:ident) => {
        #[test]
        fn $test() {
            for level in levels() {
                match level {
                    Level::Unfused => generic::$test::<super::array::Array>(),
                    #[cfg(target_arch = "x86_64")]
                    Level::Fused => super::avx2::Avx2::outlined(generic::$test::<super::avx2::Avx2>),
                    #[cfg(not(target_arch = "x86_64"))]
                    Level::Fused => unreachable!("there is no such flavour here"),
                }
            }
        }
    };
}

with_every_level!(exp_is_right_to_two_units_of_the_last_place);
with_every_level!(stored_formats_are_exact);
with_every_level!(lanes_keep_their_places);
with_every_level!(what_is_not_a_number_stays_in_a_maximum);

mod generic {
    use super::*;

    pub fn exp_is_right_to_two_units_of_the_last_place<V: Vector>() {
        let mut worst: f64 = 0.0;
        for i in -87_000..88_720 {
            let x = i as f32 / 1000.0;
            let got = f64::from(V::splat(x).exp().to_array()[3]);
            let want = f64::from(x).exp();
            let unit = f64::from((want as f32).next_up()) - f64::from(want as f32);
            worst = worst.max((got - want).abs() / unit);
        }
        assert!(worst < 2.0, "{worst} units");
        let of = |x: f32| V::splat(x).exp().to_array()[0];
        assert_eq!([of(0.0), of(-1000.0), of(f32::NEG_INFINITY), of(-88.0)], [1.0, 0.0, 0.0, 0.0]);
        assert_eq!([of(89.0), of(f32::INFINITY)], [f32::INFINITY; 2]);
        assert!(of(f32::NAN).is_nan());
    }

    pub fn stored_formats_are_exact<V: Vector>() {
        for half in (0..=u16::MAX).step_by(4) {
            let words: [u32; 4] = core::array::from_fn(|i| {
                let first = half.wrapping_add(2 * i as u16);
                u32::from(first) | u32::from(first.wrapping_add(1)) << 16
            });
            let halves: [u16; 8] = core::array::from_fn(|i| half.wrapping_add(i as u16));
            for (got, half) in V::from_f16(words).to_array().into_iter().zip(halves) {
                let sign = if half >> 15 == 0 { 1.0 } else { -1.0 };
                let (exponent, mantissa) = (i32::from(half >> 10 & 31), f32::from(half & 1023) / 1024.0);
                let want = match exponent {
                    0 => sign * mantissa * 2f32.powi(-14),
                    31 if mantissa == 0.0 => sign * f32::INFINITY,
                    31 => f32::NAN,
                    _ => sign * (1.0 + mantissa) * 2f32.powi(exponent - 15),
                };
                assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{half:#x}: {got}");
            }
            let want = halves.map(|half| u32::from(half) << 16);
            assert_eq!(V::from_bf16(words).to_array().map(f32::to_bits), want);
        }
        for word in [0x7654_3210, 0xfedc_ba98_u32, 0x1234_89ab] {
            let bytes = word.to_le_bytes();
            let want =
                core::array::from_fn(|i| NF4_CODES[usize::from(bytes[i / 2] >> (4 * (1 - i % 2)) & 15)]);
            assert_eq!(V::from_nf4(word).to_array(), want);
        }
    }

    pub fn lanes_keep_their_places<V: Vector>() {
        let values = random(1, 64);
        let (rows, _) = values.as_chunks::<8>();
        let columns = V::transposed(core::array::from_fn(|row| V::of(&rows[row])));
        for (j, column) in columns.into_iter().enumerate() {
            assert_eq!(column.to_array(), core::array::from_fn(|i| rows[i][j]));
        }
        let ladder = V::of(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]);
        assert_eq!((ladder.sum(), ladder.greatest()), (255.0, 128.0));
        let below = V::select(ladder.less(V::splat(8.0)), ladder, V::zero());
        assert_eq!(below.to_array(), [1.0, 2.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!((ladder * ladder).sqrt().to_array(), ladder.to_array());
        assert_eq!(ladder.mul_add(ladder, ladder).to_array()[7], 128.0 * 129.0);
    }

    pub fn what_is_not_a_number_stays_in_a_maximum<V: Vector>() {
        let (nan, one) = (V::splat(f32::NAN), V::splat(1.0));
        assert!(nan.max(one).to_array()[5].is_nan() && nan.min(one).to_array()[5].is_nan());
        assert_eq!((one.max(nan).to_array()[5], one.min(nan).to_array()[5]), (1.0, 1.0));
        assert_eq!((one.max(V::zero()).to_array()[5], one.min(V::zero()).to_array()[5]), (1.0, 0.0));
    }
}
