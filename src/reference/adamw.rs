//! Twin of [`crate::kernels::adamw`].

use num_traits::Float;

use crate::kernels::adamw::{Hyper, Params};
use crate::kernels::grad_norm::{STATS, STATS_CLIP, STATS_FINITE, STATS_WAS_FINITE};

/// Updates `param`, `m` and `v`, all [n], from `grad` [n].
pub fn update<F: Float>(
    params: &Params,
    grad: &[F],
    stats: &[F; STATS],
    hyper: &[Hyper; 2],
    param: &mut [F],
    m: &mut [F],
    v: &mut [F],
) {
    if stats[STATS_FINITE] != F::one() {
        return;
    }
    let hyper = &hyper[usize::from(stats[STATS_WAS_FINITE] == F::one())];
    let float = |x: f32| F::from(x).expect("a float");
    for i in 0..params.n as usize {
        let g = grad[i] * stats[STATS_CLIP];
        m[i] = float(hyper.beta1) * m[i] + float(hyper.one_minus_beta1) * g;
        v[i] = float(hyper.beta2) * v[i] + float(hyper.one_minus_beta2) * g * g;
        let denominator = v[i].sqrt() / float(hyper.root_bias2) + float(hyper.eps);
        let decay = if params.decays == 1 { float(hyper.decay) } else { F::one() };
        param[i] = param[i] * decay - float(hyper.step_size) * (m[i] / denominator);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::adamw::Options;

    const OPTIONS: Options =
        Options { adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-8, weight_decay: 0.1 };

    #[track_caller]
    fn assert_near(got: &[f64], want: &[f64], tolerance: f64) {
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            assert!((got - want).abs() <= tolerance * want.abs(), "element {i}: {got} against {want}");
        }
    }

    /// Three steps of torch.optim.AdamW in float64, with the gradient clipped to norm 1 by
    /// clip_grad_norm_ and another learning rate in each.
    #[test]
    fn three_steps_are_those_of_torch() {
        let params = Params { n: 4, decays: 1 };
        let (mut param, mut m, mut v) = ([0.5f64, -1.0, 2.0, 0.0], [0.0; 4], [0.0; 4]);
        for (step, learning_rate) in [(1, 0.01), (2, 0.02), (3, 0.005)] {
            let grad = [0.3, -2.0 * f64::from(step), -1e-9, 0.0];
            let norm = grad.iter().map(|g| g * g).sum::<f64>().sqrt();
            let stats = [norm, 1.0 / (norm + 1e-6), 1.0, 0.0];
            let hyper = [Hyper::at_step(&OPTIONS, learning_rate, step); 2];
            update(&params, &grad, &stats, &hyper, &mut param, &mut m, &mut v);
        }
        // The hyperparameters are f32, half an epsilon of which is 6e-8.
        assert_near(&param, &[0.465243315137147, -0.961532681566753, 1.9943212569008302, 0.0], 2e-7);
        assert_near(&m, &[0.02374042527285321, -0.2697269377520542, -7.913475090951072e-11, 0.0], 2e-7);
        let want_v = [3.0042585273870673e-5, 2.9669565967491624e-3, 3.3380650304300752e-22, 0.0];
        assert_near(&v, &want_v, 2e-7);
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let hyper = [Hyper::at_step(&OPTIONS, 0.01, 1); 2];
        let (mut param, mut m, mut v) = ([1.0f64; 4], [2.0; 4], [3.0; 4]);
        let stats = [f64::NAN, 0.0, 0.0, 0.0];
        update(&Params { n: 4, decays: 1 }, &[f64::NAN; 4], &stats, &hyper, &mut param, &mut m, &mut v);
        assert_eq!((param, m, v), ([1.0; 4], [2.0; 4], [3.0; 4]));
    }
}
