//! variant dim: 64 128 256
// What attention_forward computes, for few query rows with spans of their own, as in generation,
// where each sequence adds one row and its keys lie in a cache. Bindings and results are the same.
//
// A workgroup owns one row of one head and walks over its keys, 64 at a time. First every thread
// makes the score of one key; then thread (lane, group) of 16×4 adds up every fourth value from
// `group` on, in the columns of vec4 lane + 16·c, and the four sums are added at the end.
// Accumulation is f32.

{% set columns = dim | int // 64 %}
{% include "shared/attention_params.wgsl" %}

@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> kv: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> spans: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> lse: array<f32>;

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

    let width = params.head_dim / 4u;
    let kv_head = head / (params.q_heads / params.kv_heads);
    let kv_step = params.kv_stride / 4u;
    let keys = params.k_offset / 4u + kv_head * width;
    let values = params.v_offset / 4u + kv_head * width;
    let query = (row * params.q_stride + params.q_offset) / 4u + head * width;
    {% for c in range(columns) %}
    let column{{ c }} = min(lane + {{ 16 * c }}u, width - 1u);
    var o{{ c }} = vec4<f32>();
    {% endfor %}

    var peak = HIDDEN;
    var total = 0.0;
    for (var tile = span.x; tile < span.y; tile += 64u) {
        let key = min(tile + thread, span.y - 1u) * kv_step + keys;
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
            let value = (tile + n) * kv_step + values;
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
