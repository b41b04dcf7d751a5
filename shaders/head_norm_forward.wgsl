//! variant team: alone group
// out[m, c] = weight[i] * (qkv[m, c] * r)        r = 1 / sqrt(mean_i qkv[m, c]^2 + eps)
//     for feature i of a query or key head, in column c; out[m, c] = qkv[m, c] for all other columns
//
// RMSNorm (arXiv:1910.07467, equation 4) over each head of the queries and the keys, as Qwen3 and Gemma 3 have it.
//
// qkv, out [rows, stride]; weight: q_weight or k_weight [head_dim]; all f32. The query heads begin at q_offset, the
// key heads behind them at k_offset.
{% set step = "16u" if team == "group" else "1u" %}
{% set results = 4 %}
{% include "shared/heads.wgsl" %}
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;
{% if team == "group" %}
{% include "shared/slices.wgsl" %}
{% endif %}

// The place in a row of the vec4 with this number among those outside of query and key heads.
fn other_quad(number: u32) -> u32 {
    var quad = number;
    if (quad >= params.q_offset / 4u) {
        quad += params.q_heads * params.head_dim / 4u;
    }
    if (quad >= params.k_offset / 4u) {
        quad += params.kv_heads * params.head_dim / 4u;
    }
    return quad;
}

@compute @workgroup_size({{ 64 if team == "group" else 32 }})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let head = head_of(group.x + group.y * groups.x, thread);
    let lane = thread % {{ step }};
    let quads = params.head_dim / 4u;

    var squares = vec4<f32>();
    for (var quad = lane; quad < quads; quad += {{ step }}) {
        let x = qkv[head.start + quad];
        squares += x * x;
    }
    {% if team == "group" %}
    keep_part(thread / SLICES, lane, squares);
    workgroupBarrier();
    squares = sum_of_parts(thread / SLICES);
    {% endif %}
    if (head.row >= params.rows) {
        return;
    }
    let sum = (squares.x + squares.y) + (squares.z + squares.w);
    let scale = inverseSqrt(sum / f32(params.head_dim) + params.eps);
    for (var quad = lane; quad < quads; quad += {{ step }}) {
        out[head.start + quad] = weight_of(head, quad) * (qkv[head.start + quad] * scale);
    }

    // The heads of a row share in copying what is none.
    let heads = params.q_heads + params.kv_heads;
    let others = params.stride / 4u - heads * quads;
    let row = head.row * (params.stride / 4u);
    for (var number = head.number * {{ step }} + lane; number < others; number += heads * {{ step }}) {
        let quad = row + other_quad(number);
        out[quad] = qkv[quad];
    }
}
