//! variant dim: 64 128 256
// Gradients of attention with respect to the keys and the values (FlashAttention-2, Dao 2023,
// algorithm 2). Every query head of a group adds to its one key/value head.
//
//   p[m, j]  = exp(scale · q[m]·k[j] − lse[m])           for j <= m < last[j]
//   dv[j]    = Σ_heads Σ_m p[m, j] · dout[m]
//   dk[j]    = scale · Σ_heads Σ_m p[m, j] · (dout[m]·v[j] − delta[m]) · q[m]
//
// qkv    [M, kv_stride]     queries, keys and values of the step (q_stride = kv_stride)
// dout   [M, out_stride]    heads from column 0
// lse    [M, q_heads]       from attention_forward
// delta  [M, q_heads]       from attention_backward_q
// last   [M]                end of the rows that see key j; last[j] <= j means none
// dqkv   [M, kv_stride]     the columns from k_offset to the end of the row are written, those that
//                           no head owns with 0
//
// A workgroup owns 16 keys of one key/value head and walks over the query heads of its group and the
// rows that see its keys, 64 at a time. Thread (lane, group) of 16×4 owns keys 4·group..4·group + 4,
// which are the components of its vec4s. It makes their weights for rows lane, lane + 16, lane + 32,
// lane + 48 of the tile, and gathers their gradients in the columns of vec4 lane + 16·c. `dim` is the
// largest head_dim served. Workgroup memory (8 KiB) holds the weights and the gradients of the scores.
// Accumulation is f32, in the order of heads and rows, so there is nothing to reduce between
// workgroups.

{% set columns = dim | int // 64 %}
{% from "shared/attention/pads.wgsl" import clear, pads_of_keys_and_values %}
{% include "shared/attention/backward_kv.wgsl" %}

// [64 queries][4 groups], keys in the components.
var<workgroup> weights: array<vec4<f32>, 256>;
var<workgroup> slopes: array<vec4<f32>, 256>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let lane = thread % 16u;
    let group = thread / 16u;
    let kv_head = workgroup.y;
    let block = params.first_row + workgroup.x * 16u;

    var end = 0u;
    for (var key = block; key < min(block + 16u, params.rows); key++) {
        end = max(end, last[key]);
    }

    let width = params.head_dim / 4u;
    let heads = params.q_heads;
    let per_group = heads / params.kv_heads;
    let step = params.kv_stride / 4u;
    let out_step = params.out_stride / 4u;
    let first = block + 4u * group;
    {% for i in range(4) %}
    let key{{ i }} = min(first + {{ i }}u, params.rows - 1u);
    let k{{ i }} = key{{ i }} * step + params.k_offset / 4u + kv_head * width;
    let v{{ i }} = key{{ i }} * step + params.v_offset / 4u + kv_head * width;
    {% endfor %}
    let from_rows = vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u);
    let end_rows = vec4<u32>(last[key0], last[key1], last[key2], last[key3]);

    {% for c in range(columns) %}
    let column{{ c }} = min(lane + {{ 16 * c }}u, width - 1u);
    {% for i in range(4) %}
    var a{{ c }}_{{ i }} = vec4<f32>();
    var b{{ c }}_{{ i }} = vec4<f32>();
    {% endfor %}
    {% endfor %}
    for (var head = kv_head * per_group; head < (kv_head + 1u) * per_group; head++) {
        let queries = params.q_offset / 4u + head * width;
        let gradients = head * width;
        for (var tile = block; tile < end; tile += 64u) {
            {% for j in range(4) %}
            let query{{ j }} = tile + lane + {{ 16 * j }}u;
            let row{{ j }} = min(query{{ j }}, end - 1u);
            let q{{ j }} = row{{ j }} * step + queries;
            let g{{ j }} = row{{ j }} * out_step + gradients;
            var s{{ j }} = vec4<f32>();
            var t{{ j }} = vec4<f32>();
            {% endfor %}
            for (var d = 0u; d < width; d++) {
                {% for i in range(4) %}
                let x{{ i }} = qkv[k{{ i }} + d];
                let z{{ i }} = qkv[v{{ i }} + d];
                {% endfor %}
                {% for j in range(4) %}
                let y{{ j }} = qkv[q{{ j }} + d];
                let w{{ j }} = dout[g{{ j }} + d];
                s{{ j }} += vec4<f32>(dot(x0, y{{ j }}), dot(x1, y{{ j }}), dot(x2, y{{ j }}), dot(x3, y{{ j }}));
                t{{ j }} += vec4<f32>(dot(z0, w{{ j }}), dot(z1, w{{ j }}), dot(z2, w{{ j }}), dot(z3, w{{ j }}));
                {% endfor %}
            }
            {% for j in range(4) %}
            let seen{{ j }} = (vec4<u32>(query{{ j }}) >= from_rows) & (vec4<u32>(query{{ j }}) < end_rows);
            let logit{{ j }} = s{{ j }} * params.scale - lse[row{{ j }} * heads + head];
            let p{{ j }} = exp(select(vec4<f32>(HIDDEN), logit{{ j }}, seen{{ j }}));
            weights[(lane + {{ 16 * j }}u) * 4u + group] = p{{ j }};
            slopes[(lane + {{ 16 * j }}u) * 4u + group] = p{{ j }} * (t{{ j }} - delta[row{{ j }} * heads + head]);
            {% endfor %}
            workgroupBarrier();

            for (var n = 0u; n < min(64u, end - tile); n++) {
                let p = weights[n * 4u + group];
                let slope = slopes[n * 4u + group];
                let query = (tile + n) * step + queries;
                let gradient = (tile + n) * out_step + gradients;
                {% for c in range(columns) %}
                let y{{ c }} = qkv[query + column{{ c }}];
                let w{{ c }} = dout[gradient + column{{ c }}];
                {% for i in range(4) %}
                a{{ c }}_{{ i }} += slope[{{ i }}] * y{{ c }};
                b{{ c }}_{{ i }} += p[{{ i }}] * w{{ c }};
                {% endfor %}
                {% endfor %}
            }
            workgroupBarrier();
        }
    }

    {{ pads_of_keys_and_values() }}
    {% for i in range(4) %}
    if (first + {{ i }}u < params.rows) {
        {% for c in range(columns) %}
        if (lane + {{ 16 * c }}u < width) {
            dqkv[k{{ i }} + lane + {{ 16 * c }}u] = params.scale * a{{ c }}_{{ i }};
            dqkv[v{{ i }} + lane + {{ 16 * c }}u] = b{{ c }}_{{ i }};
        }
        {% endfor %}
        {{ clear("dqkv", "key%d * step + k_end" | format(i), "k_pad", 16) }}
        {{ clear("dqkv", "key%d * step + v_end" | format(i), "v_pad", 16) }}
    }
    {% endfor %}
}
