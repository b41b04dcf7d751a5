//! The scales of NF4 blocks where they are quantised to 8 bits themselves; `shaders/nested_scales.wgsl` has their layout.

use crate::args::Args;
use crate::lanes::{TASK, part};
use crate::params::DYNAMIC_MAP_UPPER;
use crate::params::nested_scales::Params;
use crate::simd::Vector;
use crate::table::Kernel;

/// Words before a row's codes.
const HEAD: usize = 4;

/// The values of codes; those below the zero are the negatives of those above it. Which side a code is on cannot be
/// foreseen, so all are in a table.
const MAP: [f32; 256] = {
    let mut map = [0.0; 256];
    let mut i = 0;
    while i < 128 {
        map[128 + i] = DYNAMIC_MAP_UPPER[i];
        if i < 127 {
            map[126 - i] = -DYNAMIC_MAP_UPPER[i];
        }
        i += 1;
    }
    map
};

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
            let codes = &nested[HEAD..][..params.words as usize];
            for (number, (word, out)) in codes.iter().zip(out.chunks_mut(4)).enumerate() {
                for (i, out) in out.iter_mut().enumerate() {
                    let absmax = if 4 * number + i >= split as usize { second } else { first };
                    *out = MAP[(word >> (8 * i) & 255) as usize] * absmax + offset;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MAP;
    use crate::params::nested_scales::Params;
    use crate::testing::{from_words, run};

    #[test]
    fn codes_become_scales_of_their_group() {
        let codes = [0u32, 126, 127, 128, 255, 200, 9];
        assert_eq!([127, 255, 0].map(|code| MAP[code]), [0.0, 1.0, -MAP[254]]);
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
            .map(|i| MAP[codes[i % 7] as usize] * if i % 7 < 3 { absmax } else { next } + offset)
            .collect();
        let params = Params { rows: 1300, blocks: 7, words: 2, zero: 0 };
        for got in run("nested_scales", &params, &[&from_words(&nested), &vec![f32::NAN; want.len()]]) {
            assert_eq!(got[1], want);
        }
    }
}
