//! variant team: alone group
// dqkv[m, c] <- r * (g[i] - xhat[i] * mean_i(g * xhat))        r = 1 / sqrt(mean_i qkv[m, c]^2 + eps)
//     where g[i] = dqkv[m, c] * weight[i] and xhat[i] = qkv[m, c] * r
//     for feature i of a query or key head, in column c; all other columns stay
//
// The gradient of head_norm_forward (arXiv:1910.07467, equation 4), written over that of its output. The weights are
// frozen and get none. mean(g * xhat) is r * mean(g * qkv), so one walk over the head serves both means.
//
// dqkv [rows, stride]; qkv [rows, stride], what forward read; weight: q_weight or k_weight [head_dim]; all f32.
{% set step = "16u" if team == "group" else "1u" %}
{% set results = 4 %}
{% include "shared/heads.wgsl" %}
@group(0) @binding(4) var<storage, read_write> dqkv: array<vec4<f32>>;
{% if team == "group" %}
{% include "shared/slices.wgsl" %}
{% endif %}

@compute @workgroup_size({{ 64 if team == "group" else 32 }})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let head = head_of(group.x + group.y * groups.x, thread);
    let lane = thread % {{ step }};
    let quads = params.head_dim / 4u;

    // Of the squares in x and y, of the products with g in z and w.
    var sums = vec4<f32>();
    for (var quad = lane; quad < quads; quad += {{ step }}) {
        let x = qkv[head.start + quad];
        let g = dqkv[head.start + quad] * weight_of(head, quad);
        let squares = x * x;
        let products = g * x;
        sums += vec4<f32>(squares.xy + squares.zw, products.xy + products.zw);
    }
    {% if team == "group" %}
    keep_part(thread / SLICES, lane, sums);
    workgroupBarrier();
    sums = sum_of_parts(thread / SLICES);
    {% endif %}
    if (head.row >= params.rows) {
        return;
    }
    let dim = f32(params.head_dim);
    let scale = inverseSqrt((sums.x + sums.y) / dim + params.eps);
    let mean = scale * ((sums.z + sums.w) / dim);
    for (var quad = lane; quad < quads; quad += {{ step }}) {
        let at = head.start + quad;
        dqkv[at] = scale * (dqkv[at] * weight_of(head, quad) - (qkv[at] * scale) * mean);
    }
}
