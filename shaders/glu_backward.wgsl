//! variant act: silu gelu_tanh
//! variant lies: aligned anywhere
// dgate[m, f] = dout[m, f] * up[m, f] * slope(gate[m, f])
// dup[m, f] = dout[m, f] * act(gate[m, f])
//
// The gradient of glu_forward (arXiv:2002.05202, equation 6), written over its input. With act(x) = x * s(z(x)),
// where s is the logistic function, slope(x) = s(z) * (1 + x * z'(x) * (1 - s(z))).
//
// gate_up [rows, stride]: gate in the columns from 0, up in the columns from `up`, `width` of each, replaced by
// their gradients; dout [rows, cols]; all f32. Lanes past F are zero and stay so.
//
// An invocation owns four elements of gate and the same four of up, so nobody reads what it writes.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("glu::Params") }}
@group(0) @binding(1) var<storage, read> dout: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> gate_up: array<{{ "vec4<f32>" if lies == "aligned" else "f32" }}>;

{% include "shared/act.wgsl" %}

{% include "shared/glu_four.wgsl" %}

// Writes the first `count` of four values from column `at` on.
fn put_four(at: u32, count: u32, values: vec4<f32>) {
{% if lies == "aligned" %}
    gate_up[at / 4u] = values;
{% else %}
    for (var i = 0u; i < min(count, 4u); i++) {
        gate_up[at + i] = values[i];
    }
{% endif %}
}

{% call each_element("params.rows * (params.cols / 4u)") %}
    let quads = params.cols / 4u;
    let column = 4u * (index % quads);
    if (column >= params.width) {
        return;
    }
    let at = index / quads * params.stride + column;
    let gate = four(at);
    let up = four(at + params.up);
    let sigmoid = sigmoids(logit(gate));
    let slope = sigmoid.of_x * (1.0 + logit_growth(gate) * sigmoid.of_minus_x);
    put_four(at, params.width - column, dout[index] * up * slope);
    put_four(at + params.up, params.width - column, dout[index] * gate * sigmoid.of_x);
{% endcall %}
