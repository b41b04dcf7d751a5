//! Dropout of the input of an adapter, with a mask that is computed and never stored.

use crate::args::Args;
use crate::lanes::{load, part, store};
use crate::params::dropout::Params;
use crate::random::pcg4d;
use crate::simd::Vector;
use crate::table::Kernel;

/// Elements that a task takes, a multiple of [`TOGETHER`].
const ELEMENTS: u32 = 8192;

/// Counters whose numbers are made in one loop, so that the compiler makes vectors of it: every second one.
const COUNTERS: usize = 64;

/// Elements whose masks are made together: those of the even and of the odd counters.
const TOGETHER: usize = 2 * 4 * COUNTERS;

/// Which numbers of counters are at least `threshold`, as masks: by the four numbers of a counter, then by counter.
/// Counters are every second one from `first` on.
#[inline(always)]
fn masks_of(params: &Params, first: u32, seed: u32, masks: &mut [[f32; COUNTERS]]) {
    let mask = |number: u32| f32::from_bits(if number >= params.threshold { u32::MAX } else { 0 });
    let [of_x, of_y, of_z, of_w] = masks else { unreachable!("a counter has four numbers") };
    for i in 0..COUNTERS {
        let [x, y, z, w] = pcg4d([first.wrapping_add(2 * i as u32), params.stream, seed, 0]);
        (of_x[i], of_y[i], of_z[i], of_w[i]) = (mask(x), mask(y), mask(z), mask(w));
    }
}

/// Gives `each` the place of eight elements of a task and the mask of what is kept of them.
#[inline(always)]
fn each_eight<V: Vector>(params: &Params, seed: u32, task: u32, len: usize, mut each: impl FnMut(usize, V)) {
    let mut masks = [[0.0; COUNTERS]; 8];
    let mut at = 0;
    while at < len {
        let counter = (task * ELEMENTS + at as u32) / 4;
        masks_of(params, counter, seed, &mut masks[..4]);
        masks_of(params, counter + 1, seed, &mut masks[4..]);
        for first in (0..COUNTERS).step_by(8) {
            let mut eights = [V::zero(); 8];
            for (eight, masks) in eights.iter_mut().zip(&masks) {
                *eight = load(masks, first);
            }
            for (i, mask) in V::transposed(eights).into_iter().enumerate() {
                each(at + 8 * (first + i), mask);
            }
        }
        at += TOGETHER;
    }
}

/// Operands: seed [1], inp [n], out [n].
pub struct Forward;

impl Kernel for Forward {
    fn tasks(args: &Args) -> u32 {
        args.params::<Params>().n.div_ceil(ELEMENTS)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let own = part(task, ELEMENTS, params.n);
        let inp = &args.input(1)[own.clone()];
        // SAFETY: Parts of tasks are disjoint.
        let out = unsafe { args.output(2).slice(own) };
        let scale = V::splat(params.scale);
        each_eight(&params, args.words(0)[0], task, inp.len(), |at, mask: V| {
            if at < inp.len() {
                store(V::select(mask, load::<V>(inp, at) * scale, V::zero()), out, at);
            }
        });
    }
}

/// Operands: seed [1], dout [n], dinp [n], to which the gradient is added.
pub struct BackwardAdd;

impl Kernel for BackwardAdd {
    fn tasks(args: &Args) -> u32 {
        args.params::<Params>().n.div_ceil(ELEMENTS)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let own = part(task, ELEMENTS, params.n);
        let dout = &args.input(1)[own.clone()];
        // SAFETY: Parts of tasks are disjoint.
        let dinp = unsafe { args.output(2).slice(own) };
        let scale = V::splat(params.scale);
        each_eight(&params, args.words(0)[0], task, dout.len(), |at, mask: V| {
            if at < dout.len() {
                let gradient = V::select(mask, load::<V>(dout, at) * scale, V::zero());
                store(load::<V>(dinp, at) + gradient, dinp, at);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{from_words, random, run};

    #[test]
    fn masks_are_those_of_pcg4d() {
        for n in [4u32, 8, 60, 64, 68, 8192, 20_004] {
            for (probability, seed) in [(0.0, 5), (0.1, 7), (0.5, u32::MAX)] {
                let params = Params {
                    n,
                    stream: 3,
                    threshold: (probability * 4_294_967_296.0) as u32,
                    scale: (1.0 / (1.0 - probability)) as f32,
                };
                let kept = (0..n / 4).flat_map(|quad| pcg4d([quad, params.stream, seed, 0]));
                let kept = kept.map(|random| random >= params.threshold);
                let mut inp = random(1, n as usize);
                inp[2] = f32::INFINITY;
                let want: Vec<f32> =
                    inp.iter().zip(kept).map(|(x, kept)| if kept { x * params.scale } else { 0.0 }).collect();
                let (seed, nan) = (from_words(&[seed]), vec![f32::NAN; n as usize]);
                for got in run("dropout_forward", &params, &[&seed, &inp, &nan]) {
                    assert_eq!(got[2], want);
                }
                let dinp = random(2, n as usize);
                let want: Vec<f32> = want.iter().zip(&dinp).map(|(y, dinp)| dinp + y).collect();
                for got in run("dropout_backward_add", &params, &[&seed, &inp, &dinp]) {
                    assert_eq!(got[2], want);
                }
            }
        }
    }
}
