// dinp[i] += dout[i] * mask[i] / (1 - p)
//
// The gradient of dropout_forward, added to what dinp holds; the mask is computed again from the same
// (seed, stream, i). dout, dinp [n] f32, n a multiple of 4; seed [1] u32.
//
// An invocation owns four elements.
struct Params {
    n: u32,
    stream: u32,
    threshold: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> seed: array<u32>;
@group(0) @binding(2) var<storage, read> dout: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dinp: array<vec4<f32>>;

{% include "shared/element.wgsl" %}
{% include "shared/dropout_mask.wgsl" %}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = element(group, groups, lane);
    if (index >= params.n / 4u) {
        return;
    }
    let is_kept = kept(index, params.stream, seed[0], params.threshold);
    dinp[index] += select(vec4<f32>(0.0), dout[index] * params.scale, is_kept);
}
