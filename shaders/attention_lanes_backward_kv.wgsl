//! variant dim: 32 64 128 256
//! variant tile: subgroup4 subgroup8
//! native: subgroup8
// What attention_backward_kv does, with the same tensors, for adapters that compute on the CPU. A
// workgroup is one subgroup and owns 8 keys of one key/value head, the components of `a` and `b`;
// every invocation has 4 query rows of a tile for the weights, and vec4 columns of both gradients.
{% set lanes = 4 if tile == "subgroup4" else 8 %}
{% set columns = dim | int // (4 * lanes) %}
{% from "shared/attention/pads.wgsl" import clear, pads_of_keys_and_values %}
{% include "shared/attention/backward_kv.wgsl" %}

@compute @workgroup_size({{ lanes }})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let kv_head = workgroup.y;
    let block = params.first_row + workgroup.x * 8u;
    let heads = params.q_heads;
    let per_group = heads / params.kv_heads;
    let width = params.head_dim / 4u;
    let step = params.kv_stride / 4u;
    let out_step = params.out_stride / 4u;
    var end = 0u;
    {% for i in range(8) %}
    let key{{ i }} = min(block + {{ i }}u, params.rows - 1u);
    let last{{ i }} = last[key{{ i }}];
    end = max(end, last{{ i }});
    {% endfor %}
    {% for part, r in [("a", 0), ("b", 4)] %}
    let from_{{ part }} = vec4<u32>(block) + vec4<u32>({{ r }}u, {{ r + 1 }}u, {{ r + 2 }}u, {{ r + 3 }}u);
    let end_{{ part }} = vec4<u32>(last{{ r }}, last{{ r + 1 }}, last{{ r + 2 }}, last{{ r + 3 }});
    {% endfor %}
    let keys = params.k_offset / 4u + kv_head * width;
    let values = params.v_offset / 4u + kv_head * width;
    {% for i in range(8 // lanes) %}
    let row_of_lane{{ i }} = min(block + {{ i * lanes }}u + lane, params.rows - 1u) * step;
    {% endfor %}
    {% for c in range(columns) %}
    let column{{ c }} = min(lane + {{ lanes * c }}u, width - 1u);
    {% for i in range(8) %}
    var dk{{ c }}_{{ i }} = vec4<f32>();
    var dv{{ c }}_{{ i }} = vec4<f32>();
    {% endfor %}
    {% endfor %}

    for (var head = kv_head * per_group; head < (kv_head + 1u) * per_group; head++) {
        let queries = params.q_offset / 4u + head * width;
        let gradients = head * width;
        for (var tile = block; tile < end; tile += {{ 4 * lanes }}u) {
            {% for j in range(4) %}
            let query{{ j }} = tile + {{ lanes * j }}u + lane;
            let row{{ j }} = min(query{{ j }}, end - 1u);
            let q{{ j }} = row{{ j }} * step + queries;
            let g{{ j }} = row{{ j }} * out_step + gradients;
            {% for part in ["a", "b"] %}
            var s{{ j }}{{ part }} = vec4<f32>();
            var t{{ j }}{{ part }} = vec4<f32>();
            {% endfor %}
            {% endfor %}
            for (var d = 0u; d < width; d++) {
                {% for i in range(8 // lanes) %}
                let hk{{ i }} = qkv[row_of_lane{{ i }} + keys + d];
                let hv{{ i }} = qkv[row_of_lane{{ i }} + values + d];
                {% endfor %}
                {% for i in range(8) %}
                let x{{ i }} = subgroupBroadcast(hk{{ i // lanes }}, {{ i % lanes }}u);
                let z{{ i }} = subgroupBroadcast(hv{{ i // lanes }}, {{ i % lanes }}u);
                {% endfor %}
                {% for j in range(4) %}
                {
                    let y = qkv[q{{ j }} + d];
                    let w = dout[g{{ j }} + d];
                    s{{ j }}a += vec4<f32>(dot(x0, y), dot(x1, y), dot(x2, y), dot(x3, y));
                    s{{ j }}b += vec4<f32>(dot(x4, y), dot(x5, y), dot(x6, y), dot(x7, y));
                    t{{ j }}a += vec4<f32>(dot(z0, w), dot(z1, w), dot(z2, w), dot(z3, w));
                    t{{ j }}b += vec4<f32>(dot(z4, w), dot(z5, w), dot(z6, w), dot(z7, w));
                }
                {% endfor %}
            }
            {% for j in range(4) %}
            let log_sum{{ j }} = lse[row{{ j }} * heads + head];
            let product{{ j }} = delta[row{{ j }} * heads + head];
            {% for part in ["a", "b"] %}
            let seen{{ j }}{{ part }} =
                (vec4<u32>(query{{ j }}) >= from_{{ part }}) & (vec4<u32>(query{{ j }}) < end_{{ part }});
            let logit{{ j }}{{ part }} = s{{ j }}{{ part }} * params.scale - log_sum{{ j }};
            let p{{ j }}{{ part }} = exp(select(vec4<f32>(HIDDEN), logit{{ j }}{{ part }}, seen{{ j }}{{ part }}));
            let slope{{ j }}{{ part }} = p{{ j }}{{ part }} * (t{{ j }}{{ part }} - product{{ j }});
            {% endfor %}
            {% endfor %}
            for (var n = 0u; n < {{ lanes }}u; n++) {
                {% for j in range(4) %}
                {
                    let pa = subgroupShuffle(p{{ j }}a, n);
                    let pb = subgroupShuffle(p{{ j }}b, n);
                    let sa = subgroupShuffle(slope{{ j }}a, n);
                    let sb = subgroupShuffle(slope{{ j }}b, n);
                    let row = min(tile + {{ lanes * j }}u + n, end - 1u);
                    {% for c in range(columns) %}
                    let y{{ c }} = qkv[row * step + queries + column{{ c }}];
                    let w{{ c }} = dout[row * out_step + gradients + column{{ c }}];
                    {% for i in range(4) %}
                    dk{{ c }}_{{ i }} += sa[{{ i }}] * y{{ c }};
                    dk{{ c }}_{{ i + 4 }} += sb[{{ i }}] * y{{ c }};
                    dv{{ c }}_{{ i }} += pa[{{ i }}] * w{{ c }};
                    dv{{ c }}_{{ i + 4 }} += pb[{{ i }}] * w{{ c }};
                    {% endfor %}
                    {% endfor %}
                }
                {% endfor %}
            }
        }
    }

    {{ pads_of_keys_and_values() }}
    {% for i in range(8) %}
    if block + {{ i }}u < params.rows {
        let row = key{{ i }} * step;
        {% for c in range(columns) %}
        if lane + {{ lanes * c }}u < width {
            dqkv[row + keys + column{{ c }}] = params.scale * dk{{ c }}_{{ i }};
            dqkv[row + values + column{{ c }}] = dv{{ c }}_{{ i }};
        }
        {% endfor %}
        {{ clear("dqkv", "row + k_end", "k_pad", lanes) }}
        {{ clear("dqkv", "row + v_end", "v_pad", lanes) }}
    }
    {% endfor %}
}
