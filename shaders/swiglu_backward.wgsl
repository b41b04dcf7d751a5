// dgate[m, f] = dact[m, f] * up[m, f] * s * (1 + gate[m, f] * (1 - s))        s = sigmoid(gate[m, f])
// dup[m, f] = dact[m, f] * gate[m, f] * s
//
// The gradient of swiglu_forward (arXiv:2002.05202, equation 6), written over its input.
//
// gate_up [rows, 2 * half]: gate in the columns from 0, up in the columns from `half`, replaced by
// their gradients; dact [rows, half]; all f32. Lanes past F are zero and stay so.
//
// An invocation owns four elements of gate and the same four of up, so nobody reads what it writes.
struct Params {
    rows: u32,
    half: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dact: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> gate_up: array<vec4<f32>>;

{% include "shared/element.wgsl" %}
{% include "shared/sigmoid.wgsl" %}

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
    let sigmoid = sigmoids(gate);
    let silu_slope = sigmoid.of_x * (1.0 + gate * sigmoid.of_minus_x);
    gate_up[at] = dact[index] * up * silu_slope;
    gate_up[at + quads] = dact[index] * gate * sigmoid.of_x;
}
