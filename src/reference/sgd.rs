//! Twin of [`crate::kernels::sgd`].

use num_traits::Float;

use crate::kernels::grad_norm::{STATS, STATS_CLIP, STATS_FINITE};
use crate::kernels::sgd::{Hyper, Params};

/// Updates `param` [n] from `grad` [n].
pub fn update<F: Float>(params: &Params, grad: &[F], stats: &[F; STATS], hyper: &Hyper, param: &mut [F]) {
    if stats[STATS_FINITE] != F::one() {
        return;
    }
    let float = |x: f32| F::from(x).expect("a float");
    let decay = if params.decays == 1 { float(hyper.decay) } else { F::one() };
    for i in 0..params.n as usize {
        param[i] = param[i] * decay - float(hyper.learning_rate) * (grad[i] * stats[STATS_CLIP]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps of torch.optim.SGD in float64 with a weight decay of 0.1, of which p ← p − lr (g + 0.1 p).
    #[test]
    fn two_steps_are_those_of_torch() {
        let params = Params { n: 4, decays: 1 };
        let mut param = [0.5f64, -1.0, 2.0, 0.0];
        for learning_rate in [0.25, 0.125] {
            let hyper = Hyper::new(learning_rate, 0.1);
            update(&params, &[0.5, -2.0, 0.0, 4.0], &[0.0, 0.5, 1.0, 0.0], &hyper, &mut param);
        }
        let want = [0.3884375, -0.5909375, 1.925625, -0.74375];
        for (got, want) in param.iter().zip(want) {
            assert!((got - want).abs() < 1e-7, "{got} against {want}");
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let mut param = [1.0f64; 4];
        let stats = [f64::NAN, 0.0, 0.0, 0.0];
        update(&Params { n: 4, decays: 1 }, &[f64::NAN; 4], &stats, &Hyper::new(0.1, 0.1), &mut param);
        assert_eq!(param, [1.0; 4]);
    }
}
