//! variant weight: nf4 nf4_any f32 f16 bf16 fp4 fp4_any int8 q8_0 q4_0 q4_1 q5_0 q5_1 q4_k q5_k q6_k
// out[n] = sum_k W[n, k]²        for W [N, K] in its stored format (shared/weight.wgsl)
//
// A workgroup owns 16 rows of W: 16 invocations share the K of four rows, each taking every 16th run of eight values, and
// add up in a fixed order.
{% set decode = "memory" %}
{% set results = 4 %}
{% include "shared/linear/params.wgsl" %}
{% include "shared/weight.wgsl" %}
{% include "shared/slices.wgsl" %}

@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first = (group.x + group.y * groups.x) * 16u;
    let four = thread / SLICES;
    let slice = thread % SLICES;
    // Those past the last row compute it again, and write nothing.
    let row = min(first + four * 4u, params.cols - 4u);
    {% if weight in ["nf4", "nf4_any", "fp4", "fp4_any"] %}
    fill_code_table(thread, 64u);
    workgroupBarrier();
    {% endif %}
    var sum = vec4<f32>();
    for (var k8 = slice; k8 < params.depth / 8u; k8 += SLICES) {
        {% for j in range(4) %}
        {
            let w = load_weight(row + {{ j }}u, k8);
            sum[{{ j }}] += dot(w.a, w.a) + dot(w.b, w.b);
        }
        {% endfor %}
    }
    keep_part(four, slice, sum);
    workgroupBarrier();
    let own = first + thread * 4u;
    if thread < 4u && own < params.cols {
        out[own / 4u] = sum_of_parts(thread);
    }
}
