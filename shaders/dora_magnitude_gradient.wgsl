// gradient[n] += sum_m dy[m, offset + n] z[m, n] / norms[n]        for columns of layers with LoRA
//
// dy [M, stride]; z [M, N]; all f32. Where a norm is 0, nothing is added.
//
// A workgroup of 64 owns four quads of columns, for each of which 16 invocations have every 16th row; their sums come
// together in a fixed order.
{% set results = 4 %}
{% include "shared/slices.wgsl" %}
{% include "shared/dora.wgsl" %}
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> z: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> norms: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> gradient: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let quad = (group.x + group.y * groups.x) * 4u + thread % 4u;
    let quads = params.cols / 4u;
    var sum = vec4<f32>();
    if quad < quads {
        for (var row = thread / 4u; row < params.rows; row += SLICES) {
            sum += dy[(row * params.stride + params.offset) / 4u + quad] * z[row * quads + quad];
        }
    }
    keep_part(thread % 4u, thread / 4u, sum);
    workgroupBarrier();
    let layer = layer_of(quad * 4u);
    if thread < 4u && quad < quads && params.t_offset[layer.number] != NONE {
        let place = quad_of(layer, quad * 4u);
        let norm = norms[place];
        let is_zero = norm == vec4<f32>(0.0);
        let divided = sum_of_parts(thread) / select(norm, vec4<f32>(1.0), is_zero);
        gradient[place] += select(divided, vec4<f32>(0.0), is_zero);
    }
}
