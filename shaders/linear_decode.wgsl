//! variant weight: nf4 nf4_any f16 bf16 fp4 fp4_any int8 q8_0 q4_0 q4_1 q5_0 q5_1 q4_k q5_k q6_k
// out[n, k] = W[n, k] as f32, for W [N, K] in its stored format (shared/weight.wgsl).
//
// An invocation decodes eight consecutive values. The scratch that holds them is used again by the
// next layer, so that a float copy exists of one matrix at a time and no longer than its product.
// It pays where a product decodes each weight often: on CPU adapters, whose tiles are narrow.
{% include "shared/linear/params.wgsl" %}
{% set decode = "tree" %}
{% include "shared/weight.wgsl" %}

@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = (group.x + group.y * groups.x) * 64u + thread;
    let depth8 = params.depth / 8u;
    if index >= params.cols * depth8 { return; }
    let w = load_weight(index / depth8, index % depth8);
    out[index * 2u] = w.a;
    out[index * 2u + 1u] = w.b;
}
