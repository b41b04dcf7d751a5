// The maximum and the sum of exponentials of a row of `logits` (array<vec4<u32>>) whose lanes from
// params.vocab on, of params.stride, are ignored: online softmax (Milakov and Gimelshein 2018,
// arXiv:1805.02867). A team (group: a workgroup of 256; alone: one invocation) owns the row. The order of
// all sums is fixed.
//
// WGSL lets a compiler assume that NaN and infinities never occur, so what is not finite is recognised by
// its bits.
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

const STEP = {{ "256u" if team == "group" else "1u" }};
{% if team == "group" %}
var<workgroup> of_lane: array<Summary, 256>;
var<workgroup> of_sixteen: array<Summary, 16>;

fn joined(a: Summary, b: Summary) -> Summary {
    let peak = max(a.peak, b.peak);
    let total = a.total * exp(a.peak - peak) + b.total * exp(b.peak - peak);
    return Summary(peak, total, a.broken | b.broken);
}
{% endif %}

// Of the row that begins at `start`, in vectors; a group calls it together.
fn summary_of(start: u32, lane: u32) -> Summary {
    var peak = LOWEST;
    var totals = vec4<f32>(0.0);
    var broken = 0u;
    for (var quad = lane; quad < params.stride / 4u; quad += STEP) {
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
    let alone = Summary(peak, (totals.x + totals.y) + (totals.z + totals.w), broken);
    {% if team == "group" %}
    of_lane[lane] = alone;
    workgroupBarrier();
    if (lane < 16u) {
        var summary = of_lane[lane * 16u];
        for (var i = 1u; i < 16u; i++) {
            summary = joined(summary, of_lane[lane * 16u + i]);
        }
        of_sixteen[lane] = summary;
    }
    workgroupBarrier();
    var together = of_sixteen[0];
    for (var i = 1u; i < 16u; i++) {
        together = joined(together, of_sixteen[i]);
    }
    return together;
    {% else %}
    return alone;
    {% endif %}
}
