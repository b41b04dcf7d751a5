// out[i, :] = inp[index[first + i], :], or zeros where index[first + i] is 0xFFFFFFFF        i < count
//
// inp [M, stride], out [count, stride] f32; index u32. Picks the rows that have a label out of the
// hidden states, one block at a time. An invocation owns four elements of out.
struct Params {
    count: u32,
    stride: u32,
    first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> inp: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

{% include "shared/element.wgsl" %}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let here = element(group, groups, lane);
    let quads = params.stride / 4u;
    if (here >= params.count * quads) {
        return;
    }
    let row = index[params.first + here / quads];
    var value = vec4<f32>(0.0);
    if (row != 0xffffffffu) {
        value = inp[row * quads + here % quads];
    }
    out[here] = value;
}
