//! variant team: alone group
// For each labelled row i < rows of a block, with t = targets[first + i]:
//     row_loss[first + i] = logsumexp(logits[i, :]) - logits[i, t]
//     logits[i, v]       <- (softmax(logits[i, :])[v] - (v == t)) * row_weight[first + i]
//
// logits [rows, stride] f32, of which the lanes from `vocab` on are ignored and set to zero;
// targets u32; row_weight, row_loss f32. A target of 0xFFFFFFFF marks a dead row: loss 0, gradient 0,
// whatever its logits hold. logits and row_loss are bound as bits, see below.
//
// A team (group: a workgroup of 256; alone: one invocation, for CPU adapters) owns one row and
// goes over it twice: once for the maximum and the sum of exponentials together, once for the
// gradient. The loss is (max - logit) + log(sum), so that large logits cancel before they are rounded
// into the sum.
//
// A row with a logit that is not finite has its loss and gradient written as NaN bits. A target
// outside the vocabulary is treated the same way.
{% from "shared/each_row.wgsl" import each_row %}
{{ params("cross_entropy::Params") }}
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read> row_weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> logits: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> row_loss: array<u32>;

const DEAD = 0xffffffffu;

{% include "shared/logits_summary.wgsl" %}

{% call each_row(256) %}
    let label = targets[params.first + row];

    let row_summary = summary_of(start, lane);

    let is_dead = label == DEAD;
    let is_broken = !is_dead && (row_summary.broken != 0u || label >= params.vocab);
    let weight = row_weight[params.first + row];
    let scale = weight / row_summary.total;
    for (var quad = lane; quad < quads; quad += STEP) {
        let x = bitcast<vec4<f32>>(logits[start + quad]);
        let column = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
        let is_real = column < vec4<u32>(params.vocab);
        let is_label = column == vec4<u32>(label);
        let grad = exp(x - row_summary.peak) * scale - select(vec4<f32>(0.0), vec4<f32>(weight), is_label);
        let bits = select(bitcast<vec4<u32>>(grad), vec4<u32>(NAN_BITS), is_broken);
        logits[start + quad] = select(vec4<u32>(0u), bits, is_real & vec4<bool>(!is_dead));
        if (any(is_label) && !is_broken) {
            let logit = dot(select(vec4<f32>(0.0), x, is_label), vec4<f32>(1.0));
            let loss = (row_summary.peak - logit) + log(row_summary.total);
            row_loss[params.first + row] = bitcast<u32>(loss);
        }
    }
    if (lane == 0u && (is_dead || is_broken)) {
        row_loss[params.first + row] = select(NAN_BITS, 0u, is_dead);
    }
{% endcall %}
