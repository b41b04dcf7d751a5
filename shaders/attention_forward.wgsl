//! variant dim: 32 64 128 256
// Causal grouped-query attention over a flat list of tokens, with online softmax: FlashAttention-2
// (Dao 2023, algorithm 1). No rows×keys matrix leaves the workgroup.
//
//   s[m, j]   = scale · q[m]·k[j]                for start[m] <= j < stop[m]
//   lse[m]    = log Σ_j exp(s[m, j])
//   out[m]    = Σ_j exp(s[m, j] − lse[m]) · v[j]
//
// q      [M, q_stride]       query heads from column q_offset
// kv     [N, kv_stride]      key heads from k_offset, value heads from v_offset; may be q's buffer
// spans  [M]                 (start, stop): the keys that row m sees. A row with start = stop sees
//                            none: out 0, lse 0
// out    [M, out_stride]     heads from column 0, pad lanes 0
// lse    [M, q_heads]
//
// A workgroup owns one head of 4·groups query rows and walks over the keys between the first start
// and the last stop of its rows, 64 at a time; key and value rows there must be finite, seen or not.
// Thread (lane, group) owns queries 4·group..4·group + 4, which are the components of its vec4s. It
// makes their scores with every key whose index within the tile is lane modulo `lanes`, keeps their
// running maximum and its own share of their running sum, and gathers their output in the columns of
// vec4 lane + lanes·c. `dim` is the largest head_dim served; eight lanes read less per product, but
// need twice the registers, so wide heads take sixteen. Operands come from storage as vec4, so that
// workgroup memory (at most 9 KiB) holds only the weights.
//
// Accumulation is f32. The maximum is subtracted before exp, so nothing overflows.

{% set lanes = 8 if dim | int <= 64 else 16 %}
{% set groups = 64 // lanes %}
{% set columns = dim | int // (4 * lanes) %}
{% from "shared/attention/pads.wgsl" import clear %}
{% include "shared/attention/forward.wgsl" %}

// [64 keys][groups], queries in the components.
var<workgroup> weights: array<vec4<f32>, {{ 64 * groups }}>;
// [groups][lanes]: what is reduced over the lanes.
var<workgroup> shares: array<vec4<f32>, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let lane = thread % {{ lanes }}u;
    let group = thread / {{ lanes }}u;
    let head = workgroup.y;
    // The last rows of a segment see the most keys; their workgroups start first.
    let block = params.first_row + (workgroups.x - 1u - workgroup.x) * {{ 4 * groups }}u;

    {% set height = 4 * groups %}
    {% include "shared/attention/span_of_block.wgsl" %}

    {% include "shared/attention/keys.wgsl" %}
    let first = block + 4u * group;
    let last = params.rows - 1u;
    {% for i in range(4) %}
    let q{{ i }} = (min(first + {{ i }}u, last) * params.q_stride + params.q_offset) / 4u + head * width;
    let span{{ i }} = select(vec2<u32>(), spans[min(first + {{ i }}u, last)], first + {{ i }}u <= last);
    {% endfor %}
    let starts = vec4<u32>(span0.x, span1.x, span2.x, span3.x);
    let stops = vec4<u32>(span0.y, span1.y, span2.y, span3.y);
    {% for c in range(columns) %}
    let column{{ c }} = min(lane + {{ lanes * c }}u, width - 1u);
    {% for i in range(4) %}
    var o{{ c }}_{{ i }} = vec4<f32>();
    {% endfor %}
    {% endfor %}

    var peak = vec4<f32>(HIDDEN);
    var total = vec4<f32>();
    for (var tile = begin; tile < end; tile += 64u) {
        {% for j in range(groups) %}
        let key{{ j }} = tile + lane + {{ lanes * j }}u;
        let k{{ j }} = min(key{{ j }}, end - 1u) * step + keys;
        var s{{ j }} = vec4<f32>();
        {% endfor %}
        for (var d = 0u; d < width; d++) {
            {% for i in range(4) %}
            let x{{ i }} = q[q{{ i }} + d];
            {% endfor %}
            {% for j in range(groups) %}
            let y{{ j }} = kv[k{{ j }} + d];
            s{{ j }} += vec4<f32>(dot(x0, y{{ j }}), dot(x1, y{{ j }}), dot(x2, y{{ j }}), dot(x3, y{{ j }}));
            {% endfor %}
        }
        {% for j in range(groups) %}
        let seen{{ j }} = (vec4<u32>(key{{ j }}) >= starts) & (vec4<u32>(key{{ j }}) < stops);
        s{{ j }} = select(vec4<f32>(HIDDEN), s{{ j }} * params.scale, seen{{ j }});
        {% endfor %}

        var best = s0;
        {% for j in range(1, groups) %}
        best = max(best, s{{ j }});
        {% endfor %}
        shares[thread] = best;
        workgroupBarrier();
        var top = peak;
        for (var other = 0u; other < {{ lanes }}u; other++) {
            top = max(top, shares[group * {{ lanes }}u + other]);
        }
        let decay = exp(peak - top);
        peak = top;
        total *= decay;
        {% for j in range(groups) %}
        let p{{ j }} = select(vec4<f32>(), exp(s{{ j }} - top), seen{{ j }});
        weights[(lane + {{ lanes * j }}u) * {{ groups }}u + group] = p{{ j }};
        total += p{{ j }};
        {% endfor %}
        {% for c in range(columns) %}
        {% for i in range(4) %}
        o{{ c }}_{{ i }} *= decay[{{ i }}];
        {% endfor %}
        {% endfor %}
        workgroupBarrier();

        for (var n = 0u; n < min(64u, end - tile); n++) {
            let p = weights[n * {{ groups }}u + group];
            let value = (tile + n) * step + values;
            {% for c in range(columns) %}
            let v{{ c }} = kv[value + column{{ c }}];
            {% for i in range(4) %}
            o{{ c }}_{{ i }} += p[{{ i }}] * v{{ c }};
            {% endfor %}
            {% endfor %}
        }
    }

    // The last reads of `shares` came before the barrier that ended the last tile's weights.
    shares[thread] = total;
    workgroupBarrier();
    var sum = vec4<f32>();
    for (var other = 0u; other < {{ lanes }}u; other++) {
        sum += shares[group * {{ lanes }}u + other];
    }
    let some = sum > vec4<f32>();
    let divisor = select(vec4<f32>(1.0), sum, some);
    let log_sum = select(vec4<f32>(), peak + log(divisor), some);
    let pad = select(0u, params.out_stride / 4u - params.q_heads * width, head == params.q_heads - 1u);
    {% for i in range(4) %}
    if (first + {{ i }}u < params.rows) {
        let row = (first + {{ i }}u) * (params.out_stride / 4u) + head * width;
        {% for c in range(columns) %}
        if (lane + {{ lanes * c }}u < width) {
            out[row + lane + {{ lanes * c }}u] = o{{ c }}_{{ i }} / divisor[{{ i }}];
        }
        {% endfor %}
        {{ clear("out", "row + width", "pad", lanes) }}
        if (lane == 0u) {
            lse[(first + {{ i }}u) * params.q_heads + head] = log_sum[{{ i }}];
        }
    }
    {% endfor %}
}
