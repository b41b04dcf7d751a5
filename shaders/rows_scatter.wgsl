// out[index[first + i], :] = inp[i, :]; rows with index 0xFFFFFFFF go nowhere        i < count
//
// inp [count, stride], out [M, stride] f32; index u32, whose live entries are distinct, so no two
// invocations write one place. The reverse of rows_gather. An invocation owns four elements of inp.
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
    if (row != 0xffffffffu) {
        out[row * quads + here % quads] = inp[here];
    }
}
