//! variant act: silu gelu_tanh
// out[m, f] = act(gate[m, f]) * up[m, f]
//
// Gated linear units: Shazeer 2020 (arXiv:2002.05202), equation 6, SwiGLU by silu and GEGLU by gelu_tanh.
//
// gate_up [rows, 2 * half]: gate in the columns from 0, up in the columns from `half` (F rounded up
// to a multiple of 8); out [rows, half]; all f32. Lanes past F are zero and stay so.
//
// An invocation owns four elements of out.
struct Params {
    rows: u32,
    half: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gate_up: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

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
    out[index] = gate * sigmoids(logit(gate)).of_x * gate_up[at + quads];
}
