//! variant dim: 64 128 256
// Gradient of attention with respect to the queries (FlashAttention-2, Dao 2023, algorithm 2), and
// the row sums that attention_backward_kv reads. The weights are made anew from the log-sum-exp.
//
//   p[m, j]   = exp(scale · q[m]·k[j] − lse[m])          for start[m] <= j < stop[m]
//   delta[m]  = dout[m]·out[m]                           = Σ_j p[m, j] · dout[m]·v[j]
//   dq[m]     = scale · Σ_j p[m, j] · (dout[m]·v[j] − delta[m]) · k[j]
//
// qkv        [M, kv_stride]    queries, keys and values of the step (q_stride = kv_stride)
// out, dout  [M, out_stride]   heads from column 0
// lse        [M, q_heads]      from attention_forward
// spans      [M]               (start, stop), as there
// delta      [M, q_heads]      written
// dqkv       [M, kv_stride]    the columns from q_offset to k_offset are written, those that no head
//                              owns with 0; rows that see no key get 0
//
// A workgroup owns 16 query rows of one head; threads, tiles and workgroup memory are those of
// attention_forward with 16 lanes, since a second product fills the registers. Accumulation is f32.

{% set columns = dim | int // 64 %}
{% from "shared/attention/pads.wgsl" import clear %}
{% include "shared/attention/backward_q.wgsl" %}

// [64 keys][4 groups]: the gradients of the scores, queries in the components.
var<workgroup> slopes: array<vec4<f32>, 256>;
// [4 groups][16 lanes]: what is reduced over the lanes.
var<workgroup> shares: array<vec4<f32>, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let lane = thread % 16u;
    let group = thread / 16u;
    let head = workgroup.y;
    let block = params.first_row + (workgroups.x - 1u - workgroup.x) * 16u;

    {% set height = 16 %}
    {% include "shared/attention/span_of_block.wgsl" %}

    {% include "shared/attention/keys.wgsl" %}
    let first = block + 4u * group;
    let last = params.rows - 1u;
    {% for i in range(4) %}
    let row{{ i }} = min(first + {{ i }}u, last);
    let q{{ i }} = row{{ i }} * step + params.q_offset / 4u + head * width;
    let g{{ i }} = row{{ i }} * (params.out_stride / 4u) + head * width;
    let span{{ i }} = select(vec2<u32>(), spans[row{{ i }}], first + {{ i }}u <= last);
    {% endfor %}
    let starts = vec4<u32>(span0.x, span1.x, span2.x, span3.x);
    let stops = vec4<u32>(span0.y, span1.y, span2.y, span3.y);
    let heads = params.q_heads;
    let log_sum = vec4<f32>(
        lse[row0 * heads + head], lse[row1 * heads + head], lse[row2 * heads + head], lse[row3 * heads + head],
    );

    var share = vec4<f32>();
    for (var d = lane; d < width; d += 16u) {
        share += vec4<f32>(
            {% for i in range(4) %}
            dot(out[g{{ i }} + d], dout[g{{ i }} + d]),
            {% endfor %}
        );
    }
    shares[thread] = share;
    workgroupBarrier();
    var product = vec4<f32>();
    for (var other = 0u; other < 16u; other++) {
        product += shares[group * 16u + other];
    }

    {% for c in range(columns) %}
    let column{{ c }} = min(lane + {{ 16 * c }}u, width - 1u);
    {% for i in range(4) %}
    var a{{ c }}_{{ i }} = vec4<f32>();
    {% endfor %}
    {% endfor %}
    for (var tile = begin; tile < end; tile += 64u) {
        {% for j in range(4) %}
        let key{{ j }} = tile + lane + {{ 16 * j }}u;
        let k{{ j }} = min(key{{ j }}, end - 1u) * step + keys;
        let v{{ j }} = min(key{{ j }}, end - 1u) * step + values;
        var s{{ j }} = vec4<f32>();
        var t{{ j }} = vec4<f32>();
        {% endfor %}
        for (var d = 0u; d < width; d++) {
            {% for i in range(4) %}
            let x{{ i }} = qkv[q{{ i }} + d];
            let z{{ i }} = dout[g{{ i }} + d];
            {% endfor %}
            {% for j in range(4) %}
            let y{{ j }} = qkv[k{{ j }} + d];
            let w{{ j }} = qkv[v{{ j }} + d];
            s{{ j }} += vec4<f32>(dot(x0, y{{ j }}), dot(x1, y{{ j }}), dot(x2, y{{ j }}), dot(x3, y{{ j }}));
            t{{ j }} += vec4<f32>(dot(z0, w{{ j }}), dot(z1, w{{ j }}), dot(z2, w{{ j }}), dot(z3, w{{ j }}));
            {% endfor %}
        }
        {% for j in range(4) %}
        let seen{{ j }} = (vec4<u32>(key{{ j }}) >= starts) & (vec4<u32>(key{{ j }}) < stops);
        let p{{ j }} = exp(select(vec4<f32>(HIDDEN), s{{ j }} * params.scale - log_sum, seen{{ j }}));
        slopes[(lane + {{ 16 * j }}u) * 4u + group] = p{{ j }} * (t{{ j }} - product);
        {% endfor %}
        workgroupBarrier();

        for (var n = 0u; n < min(64u, end - tile); n++) {
            let slope = slopes[n * 4u + group];
            let key = (tile + n) * step + keys;
            {% for c in range(columns) %}
            let y{{ c }} = qkv[key + column{{ c }}];
            {% for i in range(4) %}
            a{{ c }}_{{ i }} += slope[{{ i }}] * y{{ c }};
            {% endfor %}
            {% endfor %}
        }
        workgroupBarrier();
    }

    let heads_end = params.q_offset / 4u + heads * width;
    let pad = select(0u, params.k_offset / 4u - heads_end, head == heads - 1u);
    {% for i in range(4) %}
    if (first + {{ i }}u < params.rows) {
        {% for c in range(columns) %}
        if (lane + {{ 16 * c }}u < width) {
            dqkv[q{{ i }} + lane + {{ 16 * c }}u] = params.scale * a{{ c }}_{{ i }};
        }
        {% endfor %}
        {{ clear("dqkv", "row%d * step + heads_end" | format(i), "pad", 16) }}
        if (lane == 0u) {
            delta[row{{ i }} * heads + head] = product[{{ i }}];
        }
    }
    {% endfor %}
}
