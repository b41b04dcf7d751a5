// The logistic function of x and of -x, each accurate where it is small: neither exponential
// overflows, and 1 - sigmoid(x) is not taken by a subtraction that cancels.
struct Sigmoids {
    of_x: vec4<f32>,
    of_minus_x: vec4<f32>,
}

fn sigmoids(x: vec4<f32>) -> Sigmoids {
    let small = exp(-abs(x));
    let larger = 1.0 / (1.0 + small);
    let smaller = small * larger;
    let positive = x >= vec4<f32>(0.0);
    return Sigmoids(select(smaller, larger, positive), select(larger, smaller, positive));
}
