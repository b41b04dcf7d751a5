//! variant dim: 32 64 128 256
//! variant tile: subgroup4 subgroup8
//! native: subgroup8
// What attention_forward does, with the same tensors, for adapters that compute on the CPU: no
// workgroup memory and no barriers, each of which suspends every invocation there.
//
// A workgroup is one subgroup and owns one head of 8 query rows. For the scores every invocation has
// 4 keys of a tile and gets the queries by broadcast; for the output it has the vec4 columns lane,
// lane + lanes, … and gets the weights by shuffle. `dim` is the largest head_dim served. The
// components of `a` are rows 0 to 3, those of `b` rows 4 to 7.
{% set lanes = 4 if tile == "subgroup4" else 8 %}
{% set columns = dim | int // (4 * lanes) %}
{% from "shared/attention/pads.wgsl" import clear %}
{% include "shared/attention/forward.wgsl" %}

@compute @workgroup_size({{ lanes }})
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let head = workgroup.y;
    // The last rows of a segment see the most keys; their workgroups start first.
    let block = params.first_row + (workgroups.x - 1u - workgroup.x) * 8u;
    {% include "shared/attention/spans_of_eight.wgsl" %}
    {% include "shared/attention/keys.wgsl" %}
    {% for i in range(8 // lanes) %}
    let q{{ i }} = (min(block + {{ i * lanes }}u + lane, last) * params.q_stride + params.q_offset) / 4u + head * width;
    {% endfor %}
    {% for c in range(columns) %}
    let column{{ c }} = min(lane + {{ lanes * c }}u, width - 1u);
    {% for i in range(8) %}
    var o{{ c }}_{{ i }} = vec4<f32>();
    {% endfor %}
    {% endfor %}

    var peak_a = vec4<f32>(HIDDEN);
    var peak_b = vec4<f32>(HIDDEN);
    var total_a = vec4<f32>();
    var total_b = vec4<f32>();
    for (var tile = begin; tile < end; tile += {{ 4 * lanes }}u) {
        {% for j in range(4) %}
        let key{{ j }} = tile + {{ lanes * j }}u + lane;
        let k{{ j }} = min(key{{ j }}, end - 1u) * step + keys;
        var s{{ j }}a = vec4<f32>();
        var s{{ j }}b = vec4<f32>();
        {% endfor %}
        for (var d = 0u; d < width; d++) {
            {% for i in range(8 // lanes) %}
            let h{{ i }} = q[q{{ i }} + d];
            {% endfor %}
            {% for i in range(8) %}
            let x{{ i }} = subgroupBroadcast(h{{ i // lanes }}, {{ i % lanes }}u);
            {% endfor %}
            {% for j in range(4) %}
            {
                let y = kv[k{{ j }} + d];
                s{{ j }}a += vec4<f32>(dot(x0, y), dot(x1, y), dot(x2, y), dot(x3, y));
                s{{ j }}b += vec4<f32>(dot(x4, y), dot(x5, y), dot(x6, y), dot(x7, y));
            }
            {% endfor %}
        }
        {% for part in ["a", "b"] %}
        {% for j in range(4) %}
        let seen{{ j }}{{ part }} =
            (vec4<u32>(key{{ j }}) >= starts_{{ part }}) & (vec4<u32>(key{{ j }}) < stops_{{ part }});
        s{{ j }}{{ part }} = select(vec4<f32>(HIDDEN), s{{ j }}{{ part }} * params.scale, seen{{ j }}{{ part }});
        {% endfor %}
        let best_{{ part }} = max(max(s0{{ part }}, s1{{ part }}), max(s2{{ part }}, s3{{ part }}));
        let top_{{ part }} = max(peak_{{ part }}, subgroupMax(best_{{ part }}));
        let decay_{{ part }} = exp(peak_{{ part }} - top_{{ part }});
        peak_{{ part }} = top_{{ part }};
        {% for j in range(4) %}
        let p{{ j }}{{ part }} = select(vec4<f32>(), exp(s{{ j }}{{ part }} - top_{{ part }}), seen{{ j }}{{ part }});
        {% endfor %}
        total_{{ part }} = total_{{ part }} * decay_{{ part }} + (p0{{ part }} + p1{{ part }}) + (p2{{ part }} + p3{{ part }});
        {% for c in range(columns) %}
        {% for i in range(4) %}
        o{{ c }}_{{ i + (0 if part == "a" else 4) }} *= decay_{{ part }}[{{ i }}];
        {% endfor %}
        {% endfor %}
        {% endfor %}

        for (var n = 0u; n < {{ lanes }}u; n++) {
            {% for j in range(4) %}
            {
                let a = subgroupShuffle(p{{ j }}a, n);
                let b = subgroupShuffle(p{{ j }}b, n);
                let value = min(tile + {{ lanes * j }}u + n, end - 1u) * step + values;
                {% for c in range(columns) %}
                let v{{ c }} = kv[value + column{{ c }}];
                {% for i in range(4) %}
                o{{ c }}_{{ i }} += a[{{ i }}] * v{{ c }};
                o{{ c }}_{{ i + 4 }} += b[{{ i }}] * v{{ c }};
                {% endfor %}
                {% endfor %}
            }
            {% endfor %}
        }
    }

    let pad = select(0u, params.out_stride / 4u - params.q_heads * width, head == params.q_heads - 1u);
    {% for part in ["a", "b"] %}
    let sum_{{ part }} = subgroupAdd(total_{{ part }});
    let some_{{ part }} = sum_{{ part }} > vec4<f32>();
    let divisor_{{ part }} = select(vec4<f32>(1.0), sum_{{ part }}, some_{{ part }});
    let log_sum_{{ part }} = select(vec4<f32>(), peak_{{ part }} + log(divisor_{{ part }}), some_{{ part }});
    {% for i in range(4) %}
    {% set r = i + (0 if part == "a" else 4) %}
    if block + {{ r }}u < params.rows {
        let row = (block + {{ r }}u) * (params.out_stride / 4u) + head * width;
        {% for c in range(columns) %}
        if lane + {{ lanes * c }}u < width {
            out[row + lane + {{ lanes * c }}u] = o{{ c }}_{{ r }} / divisor_{{ part }}[{{ i }}];
        }
        {% endfor %}
        {{ clear("out", "row + width", "pad", lanes) }}
        if lane == 0u {
            lse[(block + {{ r }}u) * params.q_heads + head] = log_sum_{{ part }}[{{ i }}];
        }
    }
    {% endfor %}
    {% endfor %}
}
