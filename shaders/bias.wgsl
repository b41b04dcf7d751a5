// y[m, offset + n] += bias[n]        for n < cols
//
// The bias of frozen linear layers, added behind their product. It is frozen, so backward has no part in it.
//
// y [rows, stride], in place; bias [cols]; all f32. The lanes of the bias past a layer's width are zero.
//
// An invocation owns four elements of y.
struct Params {
    rows: u32,
    stride: u32,
    offset: u32,
    cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

{% include "shared/element.wgsl" %}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = element(group, groups, lane);
    let quads = params.cols / 4u;
    if (index >= params.rows * quads) {
        return;
    }
    let quad = index % quads;
    y[(index / quads * params.stride + params.offset) / 4u + quad] += bias[quad];
}
