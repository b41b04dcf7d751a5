//! The scales of NF4 blocks where they are quantised to 8 bits themselves; `shaders/nested_scales.wgsl` has their layout.

use crate::args::Args;
use crate::lanes::{TASK, part};
use crate::params::DYNAMIC_MAP_UPPER;
use crate::params::nested_scales::Params;
use crate::simd::Vector;
use crate::table::Kernel;

/// Scales that share one second-level scale.
const GROUP: usize = 256;

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

/// Operands: nested [octets, 2 + groups + 2 blocks], out [8 octets, blocks].
pub struct NestedScales;

/// Times eight rows of a task.
fn together(params: &Params) -> u32 {
    (TASK as u32 / (8 * params.blocks).max(1)).max(1)
}

impl Kernel for NestedScales {
    fn tasks(args: &Args) -> u32 {
        let params: Params = args.params();
        params.octets.div_ceil(together(&params))
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let (groups, scales) = (params.groups as usize, 8 * params.blocks as usize);
        for octet in part(task, together(&params), params.octets) {
            let nested = &args.words(0)[octet * (2 + groups + scales / 4)..];
            let (&[place, offset], nested) = nested.split_first_chunk().expect("eight rows are whole");
            let (absmax, codes) = nested.split_at(groups);
            // SAFETY: Rows of tasks are disjoint.
            let out = unsafe { args.output(1).slice(octet * scales..(octet + 1) * scales) };
            let (begin, count) = (place as usize % GROUP, place as usize / GROUP);
            let offset = f32::from_bits(offset);
            let mut from = 0;
            for (group, absmax) in absmax.iter().enumerate() {
                let (absmax, end) = (f32::from_bits(*absmax), count.min((group + 1) * GROUP - begin));
                for at in from..end {
                    out[at] = MAP[(codes[at / 4] >> (8 * (at % 4)) & 255) as usize] * absmax + offset;
                }
                from = end.max(from);
            }
            out[count..].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{GROUP, MAP};
    use crate::params::nested_scales::Params;
    use crate::testing::{from_words, run};

    #[test]
    fn codes_become_scales_of_their_group() {
        let codes = [0u32, 126, 127, 128, 255, 200, 9];
        assert_eq!([127, 255, 0].map(|code| MAP[code]), [0.0, 1.0, -MAP[254]]);
        let (scales, offset) = (8 * codes.len(), 0.25f32);
        // The second group begins with the fourth scale; the last of all eight rows is not there.
        let (begin, absmax) = (GROUP - 3, [0.5f32, 2.0, 0.0]);
        let code = |at: usize| codes[at % codes.len()];
        let mut nested = Vec::new();
        for octet in 0..170 {
            let count = scales - if octet == 169 { codes.len() } else { 0 };
            nested.extend([(begin + GROUP * count) as u32, offset.to_bits()]);
            nested.extend(absmax.map(f32::to_bits));
            nested.extend(
                (0..scales / 4).map(|word| (0..4).map(|i| code(4 * word + i) << (8 * i)).sum::<u32>()),
            );
        }
        let mut want: Vec<f32> = (0..170 * scales)
            .map(|at| MAP[code(at) as usize] * absmax[usize::from(at % scales >= 3)] + offset)
            .collect();
        want[170 * scales - codes.len()..].fill(0.0);
        let params = Params { octets: 170, blocks: 7, groups: 3, zero: 0 };
        for got in run("nested_scales", &params, &[&from_words(&nested), &vec![f32::NAN; want.len()]]) {
            assert_eq!(got[1], want);
        }
    }
}
