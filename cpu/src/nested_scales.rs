//! The scales of NF4 blocks where they are quantised to 8 bits themselves; `shaders/nested_scales.wgsl` has their layout.

use crate::args::Args;
use crate::lanes::{TASK, part};
use crate::params::DYNAMIC_MAP_UPPER;
use crate::params::nested_scales::Params;
use crate::simd::Vector;
use crate::table::Kernel;

/// Words before a row's codes.
const HEAD: usize = 4;

/// The value of a code; those below the zero are the negatives of those above it.
fn value_of(code: u32) -> f32 {
    match code {
        127 => 0.0,
        128.. => DYNAMIC_MAP_UPPER[code as usize - 128],
        _ => -DYNAMIC_MAP_UPPER[126 - code as usize],
    }
}

/// Operands: nested [rows, 4 + words], out [rows, blocks].
pub struct NestedScales;

/// Rows of a task.
fn together(params: &Params) -> u32 {
    (TASK as u32 / params.blocks.max(1)).max(1)
}

impl Kernel for NestedScales {
    fn tasks(args: &Args) -> u32 {
        let params: Params = args.params();
        params.rows.div_ceil(together(&params))
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let blocks = params.blocks as usize;
        for row in part(task, together(&params), params.rows) {
            let nested = &args.words(0)[row * (HEAD + params.words as usize)..];
            let [first, second, split, offset] = *nested.first_chunk::<HEAD>().expect("a row is whole");
            let [first, second, offset] = [first, second, offset].map(f32::from_bits);
            // SAFETY: Rows of tasks are disjoint.
            let out = unsafe { args.output(1).slice(row * blocks..(row + 1) * blocks) };
            for (block, out) in out.iter_mut().enumerate() {
                let code = nested[HEAD + block / 4] >> (8 * (block % 4)) & 255;
                let absmax = if block as u32 >= split { second } else { first };
                *out = value_of(code) * absmax + offset;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::value_of;
    use crate::params::nested_scales::Params;
    use crate::testing::{from_words, run};

    #[test]
    fn codes_become_scales_of_their_group() {
        let codes = [0u32, 126, 127, 128, 255, 200, 9];
        assert_eq!([127, 255, 0].map(value_of), [0.0, 1.0, -value_of(254)]);
        let [absmax, next, offset] = [0.5f32, 2.0, 0.25];
        let mut nested = Vec::new();
        for _ in 0..1300 {
            nested.extend([absmax.to_bits(), next.to_bits(), 3, offset.to_bits()]);
            nested.extend(
                codes
                    .chunks(4)
                    .map(|four| four.iter().enumerate().map(|(i, code)| code << (8 * i)).sum::<u32>()),
            );
        }
        let want: Vec<f32> = (0..1300 * codes.len())
            .map(|i| value_of(codes[i % 7]) * if i % 7 < 3 { absmax } else { next } + offset)
            .collect();
        let params = Params { rows: 1300, blocks: 7, words: 2, zero: 0 };
        for got in run("nested_scales", &params, &[&from_words(&nested), &vec![f32::NAN; want.len()]]) {
            assert_eq!(got[1], want);
        }
    }
}
