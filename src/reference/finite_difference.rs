//! Central finite differences, which the twins' gradients are checked against.

/// Panics, naming the first element, where `analytic` is not the gradient of `f` at `x`.
///
/// The difference (f(x + h) − f(x − h)) / 2h has a step h of about the cube root of the machine's
/// epsilon, which balances truncation and rounding, so an f of order one yields some ten digits.
/// Each element may differ by `tolerance` times the larger of 1 and the difference's magnitude.
#[track_caller]
pub fn check_gradient(f: impl Fn(&[f64]) -> f64, x: &[f64], analytic: &[f64], tolerance: f64) {
    assert_eq!(x.len(), analytic.len(), "a gradient has the length of its argument");
    let mut moved = x.to_vec();
    for (i, (&at, &got)) in x.iter().zip(analytic).enumerate() {
        let step = f64::EPSILON.cbrt() * at.abs().max(1.0);
        moved[i] = at + step;
        let above = f(&moved);
        moved[i] = at - step;
        let below = f(&moved);
        moved[i] = at;
        // The step that was really taken, after rounding.
        let want = (above - below) / ((at + step) - (at - step));
        let error = (got - want).abs();
        // A NaN anywhere makes the comparison false.
        let is_close = error <= tolerance * want.abs().max(1.0);
        assert!(is_close, "element {i}: the gradient is {got}, finite differences say {want}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f(x: &[f64]) -> f64 {
        x[0].sin() * x[1] + x[2].powi(3)
    }

    fn gradient(x: &[f64]) -> Vec<f64> {
        vec![x[0].cos() * x[1], x[0].sin(), 3.0 * x[2] * x[2]]
    }

    const X: [f64; 3] = [0.3, -2.0, 4.0];

    #[test]
    fn accepts_the_gradient() {
        check_gradient(f, &X, &gradient(&X), 1e-8);
    }

    #[test]
    #[should_panic(expected = "element 2")]
    fn refuses_a_wrong_element() {
        let mut wrong = gradient(&X);
        wrong[2] *= 1.0 + 1e-6;
        check_gradient(f, &X, &wrong, 1e-8);
    }

    #[test]
    #[should_panic(expected = "element 1")]
    fn refuses_nan() {
        let mut wrong = gradient(&X);
        wrong[1] = f64::NAN;
        check_gradient(f, &X, &wrong, 1e-8);
    }
}
