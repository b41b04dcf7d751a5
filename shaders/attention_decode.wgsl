//! variant dim: 64 128 256
// What attention_forward computes, for few query rows with spans of their own, as in generation,
// where each sequence adds one row and its keys lie in a cache. Bindings and results are the same.
//
// A workgroup owns one row of one head and walks over its keys, 64 at a time. First every thread
// makes the score of one key; then thread (lane, group) of 16×4 adds up every fourth value from
// `group` on, in the columns of vec4 lane + 16·c, and the four sums are added at the end.
// Accumulation is f32.

{% set columns = dim | int // 64 %}
{% include "shared/attention/forward.wgsl" %}

var<workgroup> scores: array<f32, 64>;
// [4 groups][16 lanes]
var<workgroup> shares: array<vec4<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let lane = thread % 16u;
    let group = thread / 16u;
    let row = params.first_row + workgroup.x;
    let head = workgroup.y;
    let span = spans[row];

    {% include "shared/attention/keys.wgsl" %}
    let query = (row * params.q_stride + params.q_offset) / 4u + head * width;
    {% for c in range(columns) %}
    let column{{ c }} = min(lane + {{ 16 * c }}u, width - 1u);
    var o{{ c }} = vec4<f32>();
    {% endfor %}

    var peak = HIDDEN;
    var total = 0.0;
    for (var tile = span.x; tile < span.y; tile += 64u) {
        let key = min(tile + thread, span.y - 1u) * step + keys;
        var score = 0.0;
        for (var d = 0u; d < width; d++) {
            score += dot(q[query + d], kv[key + d]);
        }
        scores[thread] = select(HIDDEN, score * params.scale, tile + thread < span.y);
        workgroupBarrier();
        var top = peak;
        for (var other = 0u; other < 64u; other++) {
            top = max(top, scores[other]);
        }
        let decay = exp(peak - top);
        peak = top;
        total *= decay;
        {% for c in range(columns) %}
        o{{ c }} *= decay;
        {% endfor %}
        for (var n = group; n < min(64u, span.y - tile); n += 4u) {
            let p = exp(scores[n] - top);
            let value = (tile + n) * step + values;
            total += p;
            {% for c in range(columns) %}
            o{{ c }} += p * kv[value + column{{ c }}];
            {% endfor %}
        }
        workgroupBarrier();
    }

    scores[thread] = total;
    workgroupBarrier();
    let sum = scores[0] + scores[16] + scores[32] + scores[48];
    let some = sum > 0.0;
    let divisor = select(1.0, sum, some);
    let out_row = row * (params.out_stride / 4u) + head * width;
    {% for c in range(columns) %}
    shares[thread] = o{{ c }};
    workgroupBarrier();
    if (group == 0u && lane + {{ 16 * c }}u < width) {
        let value = shares[lane] + shares[lane + 16u] + shares[lane + 32u] + shares[lane + 48u];
        out[out_row + lane + {{ 16 * c }}u] = value / divisor;
    }
    workgroupBarrier();
    {% endfor %}

    let pad = select(0u, params.out_stride / 4u - params.q_heads * width, head == params.q_heads - 1u);
    for (var column = thread; column < pad; column += 64u) {
        out[out_row + width + column] = vec4<f32>();
    }
    if (thread == 0u) {
        lse[row * params.q_heads + head] = select(0.0, peak + log(divisor), some);
    }
}
