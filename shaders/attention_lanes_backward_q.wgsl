//! variant dim: 32 64 128 256
//! variant tile: subgroup4 subgroup8
//! native: subgroup8
// What attention_backward_q does, with the same tensors, for adapters that compute on the CPU. The
// invocations lie as in attention_lanes_forward.
{% set lanes = 4 if tile == "subgroup4" else 8 %}
{% set columns = dim | int // (4 * lanes) %}
{% from "shared/attention/pads.wgsl" import clear %}
{% include "shared/attention/backward_q.wgsl" %}

@compute @workgroup_size({{ lanes }})
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let head = workgroup.y;
    let block = params.first_row + (workgroups.x - 1u - workgroup.x) * 8u;
    let heads = params.q_heads;
    {% include "shared/attention/keys.wgsl" %}
    {% include "shared/attention/spans_of_eight.wgsl" %}
    {% for i in range(8) %}
    var share{{ i }} = 0.0;
    {% endfor %}
    {% for c in range(columns) %}
    let column{{ c }} = min(lane + {{ lanes * c }}u, width - 1u);
    if lane + {{ lanes * c }}u < width {
        {% for i in range(8) %}
        {
            let place = row{{ i }} * (params.out_stride / 4u) + head * width + column{{ c }};
            share{{ i }} += dot(out[place], dout[place]);
        }
        {% endfor %}
    }
    {% for i in range(8) %}
    var a{{ c }}_{{ i }} = vec4<f32>();
    {% endfor %}
    {% endfor %}
    {% for part, r in [("a", 0), ("b", 4)] %}
    let product_{{ part }} = subgroupAdd(vec4<f32>(share{{ r }}, share{{ r + 1 }}, share{{ r + 2 }}, share{{ r + 3 }}));
    let log_sum_{{ part }} = vec4<f32>(
        {% for i in range(4) %}
        lse[row{{ r + i }} * heads + head],
        {% endfor %}
    );
    {% endfor %}
    {% for i in range(8 // lanes) %}
    let row_of_lane{{ i }} = min(block + {{ i * lanes }}u + lane, last);
    let q{{ i }} = row_of_lane{{ i }} * step + params.q_offset / 4u + head * width;
    let g{{ i }} = row_of_lane{{ i }} * (params.out_stride / 4u) + head * width;
    {% endfor %}

    for (var tile = begin; tile < end; tile += {{ 4 * lanes }}u) {
        {% for j in range(4) %}
        let key{{ j }} = tile + {{ lanes * j }}u + lane;
        let k{{ j }} = min(key{{ j }}, end - 1u) * step + keys;
        let v{{ j }} = min(key{{ j }}, end - 1u) * step + values;
        {% for part in ["a", "b"] %}
        var s{{ j }}{{ part }} = vec4<f32>();
        var t{{ j }}{{ part }} = vec4<f32>();
        {% endfor %}
        {% endfor %}
        for (var d = 0u; d < width; d++) {
            {% for i in range(8 // lanes) %}
            let hq{{ i }} = qkv[q{{ i }} + d];
            let hg{{ i }} = dout[g{{ i }} + d];
            {% endfor %}
            {% for i in range(8) %}
            let x{{ i }} = subgroupBroadcast(hq{{ i // lanes }}, {{ i % lanes }}u);
            let z{{ i }} = subgroupBroadcast(hg{{ i // lanes }}, {{ i % lanes }}u);
            {% endfor %}
            {% for j in range(4) %}
            {
                let y = qkv[k{{ j }} + d];
                let w = qkv[v{{ j }} + d];
                s{{ j }}a += vec4<f32>(dot(x0, y), dot(x1, y), dot(x2, y), dot(x3, y));
                s{{ j }}b += vec4<f32>(dot(x4, y), dot(x5, y), dot(x6, y), dot(x7, y));
                t{{ j }}a += vec4<f32>(dot(z0, w), dot(z1, w), dot(z2, w), dot(z3, w));
                t{{ j }}b += vec4<f32>(dot(z4, w), dot(z5, w), dot(z6, w), dot(z7, w));
            }
            {% endfor %}
        }
        {% for part in ["a", "b"] %}
        {% for j in range(4) %}
        let seen{{ j }}{{ part }} =
            (vec4<u32>(key{{ j }}) >= starts_{{ part }}) & (vec4<u32>(key{{ j }}) < stops_{{ part }});
        let logit{{ j }}{{ part }} = s{{ j }}{{ part }} * params.scale - log_sum_{{ part }};
        let slope{{ j }}{{ part }} =
            exp(select(vec4<f32>(HIDDEN), logit{{ j }}{{ part }}, seen{{ j }}{{ part }})) * (t{{ j }}{{ part }} - product_{{ part }});
        {% endfor %}
        {% endfor %}
        for (var n = 0u; n < {{ lanes }}u; n++) {
            {% for j in range(4) %}
            {
                let a = subgroupShuffle(slope{{ j }}a, n);
                let b = subgroupShuffle(slope{{ j }}b, n);
                let key = min(tile + {{ lanes * j }}u + n, end - 1u) * step + keys;
                {% for c in range(columns) %}
                let y{{ c }} = qkv[key + column{{ c }}];
                {% for i in range(4) %}
                a{{ c }}_{{ i }} += a[{{ i }}] * y{{ c }};
                a{{ c }}_{{ i + 4 }} += b[{{ i }}] * y{{ c }};
                {% endfor %}
                {% endfor %}
            }
            {% endfor %}
        }
    }

    let heads_end = params.q_offset / 4u + heads * width;
    let pad = select(0u, params.k_offset / 4u - heads_end, head == heads - 1u);
    {% for part, r in [("a", 0), ("b", 4)] %}
    {% for i in range(4) %}
    if block + {{ r + i }}u < params.rows {
        let row = row{{ r + i }} * step;
        {% for c in range(columns) %}
        if lane + {{ lanes * c }}u < width {
            dqkv[row + params.q_offset / 4u + head * width + column{{ c }}] = params.scale * a{{ c }}_{{ r + i }};
        }
        {% endfor %}
        {{ clear("dqkv", "row + heads_end", "pad", lanes) }}
        if lane == 0u {
            delta[row{{ r + i }} * heads + head] = product_{{ part }}[{{ i }}];
        }
    }
    {% endfor %}
    {% endfor %}
}
