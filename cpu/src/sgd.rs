//! The update of stochastic gradient descent of a flat buffer of parameters; `shaders/sgd.wgsl` has its equation.

use crate::args::Args;
use crate::lanes::{TASK, part, update};
use crate::params::grad_norm::{STATS_CLIP, STATS_FINITE};
use crate::params::sgd::Params;
use crate::simd::Vector;
use crate::table::Kernel;

/// Operands: grad [n], stats, `Hyper`, param [n].
pub struct Sgd;

impl Kernel for Sgd {
    fn tasks(args: &Args) -> u32 {
        args.params::<Params>().n.div_ceil(TASK as u32)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let stats = args.input(1);
        if stats[STATS_FINITE] != 1.0 {
            return;
        }
        let params: Params = args.params();
        let [decay, learning_rate] = args.input(2).as_chunks::<2>().0[0];
        let decay = V::splat(if params.decays == 1 { decay } else { 1.0 });
        let (clip, learning_rate) = (V::splat(stats[STATS_CLIP]), V::splat(learning_rate));
        let own = part(task, TASK as u32, params.n);
        // SAFETY: Parts of tasks are disjoint.
        let param = unsafe { args.output(3).slice(own.clone()) };
        update([param], [&args.input(0)[own]], |[param], [grad]: [V; 1]| {
            [param * decay - learning_rate * (grad * clip)]
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::params::sgd::Params;
    use crate::testing::{assert_close, random, run};

    #[test]
    fn updates_are_those_of_f64() {
        for n in [4, 12, 8192, 8196, 20_000] {
            let [grad, param] = [1, 2].map(|seed| random(seed, n));
            for (decays, finite) in [(1, 1.0), (0, 1.0), (1, 0.0)] {
                let decay = if decays == 1 { 0.75 } else { 1.0 };
                let want = |i: usize| {
                    let [g, p] = [grad[i], param[i]].map(f64::from);
                    if finite == 1.0 { p * decay - 0.125 * (g * 0.25) } else { p }
                };
                let want: Vec<f64> = (0..n).map(want).collect();
                let operands: [&[f32]; 4] = [&grad, &[4.0, 0.25, finite, 0.0], &[0.75, 0.125], &param];
                for got in run("sgd", &Params { n: n as u32, decays }, &operands) {
                    assert_close("param", &got[3], &want, &vec![1.0; n], 1e-6);
                }
            }
        }
    }
}
