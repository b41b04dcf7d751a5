//! variant act: silu gelu_tanh
// dgate[m, f] = dout[m, f] * up[m, f] * slope(gate[m, f])
// dup[m, f] = dout[m, f] * act(gate[m, f])
//
// The gradient of glu_forward (arXiv:2002.05202, equation 6), written over its input. With act(x) = x * s(z(x)),
// where s is the logistic function, slope(x) = s(z) * (1 + x * z'(x) * (1 - s(z))).
//
// gate_up [rows, 2 * half]: gate in the columns from 0, up in the columns from `half`, replaced by
// their gradients; dout [rows, half]; all f32. Lanes past F are zero and stay so.
//
// An invocation owns four elements of gate and the same four of up, so nobody reads what it writes.
struct Params {
    rows: u32,
    half: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dout: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> gate_up: array<vec4<f32>>;

{% include "shared/element.wgsl" %}
{% include "shared/act.wgsl" %}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = element(group, groups, lane);
    let quads = params.half / 4u;
    if (index >= params.rows * quads) {
        return;
    }
    let at = index / quads * quads + index;
    let gate = gate_up[at];
    let up = gate_up[at + quads];
    let sigmoid = sigmoids(logit(gate));
    let slope = sigmoid.of_x * (1.0 + logit_growth(gate) * sigmoid.of_minus_x);
    gate_up[at] = dout[index] * up * slope;
    gate_up[at + quads] = dout[index] * gate * sigmoid.of_x;
}
