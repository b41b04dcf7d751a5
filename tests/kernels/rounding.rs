//! Rounding to 16 bits against its twin, to the bit.

use tabtune::format::WeightFormat;
use tabtune::kernels::rounding::{self, Params};
use tabtune::reference;

use crate::harness::Harness;

/// Of both signs and every exponent values that end with a bit at each place, among them those halfway between two of 16
/// bits, and the neighbours of all these.
fn values(h: &Harness) -> Vec<f32> {
    let mantissas: Vec<u32> =
        h.random(1, 512 * 4, 0.0, 1.0).iter().map(|x| (x * (1 << 23) as f32) as u32).collect();
    let mut bits: Vec<u32> = Vec::new();
    for (number, mantissa) in mantissas.into_iter().enumerate() {
        for place in 0..23 {
            let value = (number as u32 / 4) << 23 | mantissa >> place << place | 1 << place;
            bits.extend([value - 1, value, value.wrapping_add(1)]);
        }
    }
    bits.into_iter().map(f32::from_bits).collect()
}

#[test]
fn values_of_every_exponent_are_those_of_the_twin_to_the_bit() {
    for mut h in Harness::each() {
        let values = values(&h);
        for format in [WeightFormat::Bf16, WeightFormat::F16] {
            for n in [4, 1020, values.len()] {
                let values = &values[..n];
                // A word more, which nothing may touch.
                let (inp, out) = (h.input(values), h.output(n / 2 + 1));
                h.run(|rec| rounding::round(rec, Params { n: n as u32 }, format, inp, out));
                let got = h.read_u32(out);
                let want = reference::rounding::round(format, values);
                let wrong = (0..n / 2).find(|&at| got[at] != want[at]);
                if let Some(at) = wrong {
                    let pair = &values[2 * at..2 * at + 2];
                    panic!("{}: {pair:?} are {:#x}, not {:#x}", format.name(), got[at], want[at]);
                }
                assert_eq!(got[n / 2], u32::MAX, "past the end");
            }
        }
    }
}
