// An activation act(x) = x * s(z(x)), where s is the logistic function. The including shader sets `act`.
//
// silu: z(x) = x
// gelu_tanh: z(x) = 2 * sqrt(2 / pi) * (x + 0.044715 * x^3)
//     which is 0.5 * x * (1 + tanh(z(x) / 2)), GELU approximated (Hendrycks and Gimpel 2016, arXiv:1606.08415,
//     section 2; transformers' gelu_pytorch_tanh), without a tanh, whose exponentials overflow on some adapters
{% if act == "silu" %}
fn logit(x: vec4<f32>) -> vec4<f32> {
    return x;
}

// x * z'(x)
fn logit_growth(x: vec4<f32>) -> vec4<f32> {
    return x;
}
{% else %}
// Past 16 s(z) and s(-z) are 1 and 0 in f32, whatever z is, so cubes need not overflow.
fn bounded(x: vec4<f32>) -> vec4<f32> {
    return clamp(x, vec4<f32>(-16.0), vec4<f32>(16.0));
}

fn logit(x: vec4<f32>) -> vec4<f32> {
    let y = bounded(x);
    return y * (1.5957691216057308 + 0.07135481627260025 * (y * y));
}

// x * z'(x)
fn logit_growth(x: vec4<f32>) -> vec4<f32> {
    let y = bounded(x);
    return y * (1.5957691216057308 + 0.21406444881780076 * (y * y));
}
{% endif %}

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
