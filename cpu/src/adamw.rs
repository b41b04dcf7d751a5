//! The AdamW update of a flat buffer of parameters; `shaders/adamw.wgsl` has its equations.

use crate::args::Args;
use crate::lanes::{TASK, part, update};
use crate::params::adamw::{Hyper, Params};
use crate::params::grad_norm::{STATS_CLIP, STATS_FINITE, STATS_WAS_FINITE};
use crate::simd::Vector;
use crate::table::Kernel;

/// Operands: grad [n], stats, two `Hyper`, param [n], m [n], v [n].
pub struct AdamW;

/// The `Hyper` at `index`.
fn hyper(values: &[f32], index: usize) -> Hyper {
    let [decay, step_size, beta1, one_minus_beta1, beta2, one_minus_beta2, root_bias2, eps] =
        values.as_chunks::<8>().0[index];
    Hyper { decay, step_size, beta1, one_minus_beta1, beta2, one_minus_beta2, root_bias2, eps }
}

impl Kernel for AdamW {
    fn tasks(args: &Args) -> u32 {
        args.params::<Params>().n.div_ceil(TASK as u32)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let stats = args.input(1);
        if stats[STATS_FINITE] != 1.0 {
            return;
        }
        let hyper = hyper(args.input(2), usize::from(stats[STATS_WAS_FINITE] == 1.0));
        let clip = V::splat(stats[STATS_CLIP]);
        let params: Params = args.params();
        let own = part(task, TASK as u32, params.n);
        // SAFETY: Parts of tasks are disjoint.
        let values = [3, 4, 5].map(|operand| unsafe { args.output(operand).slice(own.clone()) });
        let decay = if params.decays == 1 { hyper.decay } else { 1.0 };
        let [decay, step_size] = [V::splat(decay), V::splat(hyper.step_size)];
        let [beta1, share1] = [V::splat(hyper.beta1), V::splat(hyper.one_minus_beta1)];
        let [beta2, share2] = [V::splat(hyper.beta2), V::splat(hyper.one_minus_beta2)];
        let [root_bias2, eps] = [V::splat(hyper.root_bias2), V::splat(hyper.eps)];
        update(values, [&args.input(0)[own]], |[param, m, v], [grad]| {
            let grad = grad * clip;
            let m = beta1.mul_add(m, share1 * grad);
            let v = beta2.mul_add(v, share2 * (grad * grad));
            let denominator = v.sqrt() / root_bias2 + eps;
            [param * decay - step_size * (m / denominator), m, v]
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::params::adamw::Params;
    use crate::testing::{assert_close, random, run};

    /// Two `Hyper`, of which the second has twice the step.
    const HYPERS: [f32; 16] = [
        0.999, 0.01, 0.9, 0.1, 0.999, 0.001, 0.0316, 1e-8, 0.998, 0.02, 0.9, 0.1, 0.999, 0.001, 0.0447, 1e-8,
    ];

    #[test]
    fn updates_are_those_of_f64() {
        for n in [4, 12, 8192, 8196, 20_000] {
            let [grad, param, m] = [1, 2, 3].map(|seed| random(seed, n));
            let v: Vec<f32> = random(4, n).into_iter().map(|v| v * v).collect();
            for (was_finite, decays) in [(0usize, 1), (1, 1), (1, 0)] {
                let clip = 0.25;
                let stats = [4.0, clip, 1.0, was_finite as f32];
                let hyper: [f64; 8] = std::array::from_fn(|i| f64::from(HYPERS[8 * was_finite + i]));
                let [mut decay, step, beta1, share1, beta2, share2, root, eps] = hyper;
                if decays == 0 {
                    decay = 1.0;
                }
                let want = |i: usize| {
                    let [g, p, m, v] = [grad[i] * clip, param[i], m[i], v[i]].map(f64::from);
                    let (m, v) = (beta1 * m + share1 * g, beta2 * v + share2 * g * g);
                    [p * decay - step * (m / (v.sqrt() / root + eps)), m, v]
                };
                let want: Vec<[f64; 3]> = (0..n).map(want).collect();
                let operands: [&[f32]; 6] = [&grad, &stats, &HYPERS, &param, &m, &v];
                for got in run("adamw", &Params { n: n as u32, decays }, &operands) {
                    for (operand, name) in ["param", "m", "v"].into_iter().enumerate() {
                        let want: Vec<f64> = want.iter().map(|want| want[operand]).collect();
                        assert_close(name, &got[3 + operand], &want, &vec![1.0; n], 1e-6);
                    }
                }
            }
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let (grad, values) = (vec![f32::NAN; 12], random(1, 12));
        let operands: [&[f32]; 6] = [&grad, &[f32::NAN, 0.0, 0.0, 1.0], &HYPERS, &values, &values, &values];
        for got in run("adamw", &Params { n: 12, decays: 1 }, &operands) {
            assert!(got[3] == values && got[4] == values && got[5] == values);
        }
    }
}
