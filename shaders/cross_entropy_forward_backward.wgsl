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
// goes over it twice: once for the maximum and the sum of
// exponentials together (online softmax, Milakov and Gimelshein 2018, arXiv:1805.02867), once for the
// gradient. The order of all sums is fixed. The loss is (max - logit) + log(sum), so that large
// logits cancel before they are rounded into the sum.
//
// WGSL lets a compiler assume that NaN and infinities never occur, so a row with a logit that is not
// finite is recognised by its bits, and its loss and gradient are written as NaN bits. A target
// outside the vocabulary is treated the same way.
struct Params {
    rows: u32,
    vocab: u32,
    stride: u32,
    first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read> row_weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> logits: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> row_loss: array<u32>;

const DEAD = 0xffffffffu;
const EXPONENT = 0x7f800000u;
const NAN_BITS = 0x7fc00000u;
const LOWEST = -3.0e38;

// What is known of a set of logits.
struct Summary {
    peak: f32,
    // The sum of exp(logit - peak).
    total: f32,
    // 1 when a logit is not finite.
    broken: u32,
}

{% set step = "256u" if team == "group" else "1u" %}
{% if team == "group" %}
var<workgroup> of_lane: array<Summary, 256>;
var<workgroup> of_sixteen: array<Summary, 16>;

fn joined(a: Summary, b: Summary) -> Summary {
    let peak = max(a.peak, b.peak);
    let total = a.total * exp(a.peak - peak) + b.total * exp(b.peak - peak);
    return Summary(peak, total, a.broken | b.broken);
}
{% endif %}

@compute @workgroup_size({{ 256 if team == "group" else 8 }})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    {% if team == "group" %}
    let row = group.x + group.y * groups.x;
    let lane = invocation;
    // Uniform: the whole workgroup leaves.
    {% else %}
    let row = (group.x + group.y * groups.x) * 8u + invocation;
    let lane = 0u;
    {% endif %}
    if (row >= params.rows) {
        return;
    }
    let quads = params.stride / 4u;
    let start = row * quads;
    let label = targets[params.first + row];

    var peak = LOWEST;
    var totals = vec4<f32>(0.0);
    var broken = 0u;
    for (var quad = lane; quad < quads; quad += {{ step }}) {
        let bits = logits[start + quad];
        let column = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
        let is_real = column < vec4<u32>(params.vocab);
        let is_special = (bits & vec4<u32>(EXPONENT)) == vec4<u32>(EXPONENT);
        broken |= u32(any(is_real & is_special));
        let x = select(vec4<f32>(LOWEST), bitcast<vec4<f32>>(bits), is_real);
        let higher = max(peak, max(max(x.x, x.y), max(x.z, x.w)));
        totals = totals * exp(peak - higher) + select(vec4<f32>(0.0), exp(x - higher), is_real);
        peak = higher;
    }
    let summary_of_lane = Summary(peak, (totals.x + totals.y) + (totals.z + totals.w), broken);
    {% if team == "group" %}
    of_lane[lane] = summary_of_lane;
    workgroupBarrier();
    if (lane < 16u) {
        var summary = of_lane[lane * 16u];
        for (var i = 1u; i < 16u; i++) {
            summary = joined(summary, of_lane[lane * 16u + i]);
        }
        of_sixteen[lane] = summary;
    }
    workgroupBarrier();
    var row_summary = of_sixteen[0];
    for (var i = 1u; i < 16u; i++) {
        row_summary = joined(row_summary, of_sixteen[i]);
    }
    {% else %}
    let row_summary = summary_of_lane;
    {% endif %}

    let is_dead = label == DEAD;
    let is_broken = !is_dead && (row_summary.broken != 0u || label >= params.vocab);
    let weight = row_weight[params.first + row];
    let scale = weight / row_summary.total;
    for (var quad = lane; quad < quads; quad += {{ step }}) {
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
}
