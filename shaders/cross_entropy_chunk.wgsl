//! variant team: alone group
// A row of logits meets one chunk of the vocabulary after another, as the keys of attention do in
// FlashAttention. With t = targets[first + i], M = max(m, max of the chunk) and everything else as it was
// after the chunk before, for each row i < rows:
//     after[i]     = (M, l * exp(m - M) + sum over v of exp(logits[i, v] - M), logits[i, t], broken)
//     logits[i, v] <- exp(logits[i, v] - M)
//     sums[i, :]   <- sums[i, :] * exp(m - M)
// so that sums + logits * W, the next product, is the sum of exp(logit - M) * W[v, :] over all v so far.
//
// The chunk's columns are the ids from first_id on; the chunk that begins at id 0 is the first, before
// which m, l and sums hold nothing. logits [rows, stride] f32, of which the lanes from `vocab` on are
// ignored and set to zero; sums [rows, width] f32; targets u32. `before` and `after` [rows, 4] hold the
// bits of m, of l, of the target's logit where a chunk had it, and 1 once a logit was not finite. Rows that
// are dead or broken get zeros for logits, whatever they held. Where width is 0, sums and the new logits are wanted by none,
// and what they hold is not defined.
//
// A team (group: a workgroup of 256; alone: one invocation, for CPU adapters) owns one row.
{% from "shared/each_row.wgsl" import each_row %}
{{ params("cross_entropy::ChunkParams") }}
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read> before: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> logits: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> sums: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> after: array<u32>;

const DEAD = 0xffffffffu;

{% include "shared/logits_summary.wgsl" %}

{% call each_row(256) %}
    let label = targets[params.first + row];
    let is_first = params.first_id == 0u;

    let of_chunk = summary_of(start, lane);
    let known = select(before[row], vec4<u32>(bitcast<u32>(LOWEST), 0u, 0u, 0u), is_first);
    let known_peak = bitcast<f32>(known.x);
    let peak = max(known_peak, of_chunk.peak);
    let rescale = exp(known_peak - peak);
    let total = bitcast<f32>(known.y) * rescale + of_chunk.total * exp(of_chunk.peak - peak);
    let broken = known.w | of_chunk.broken;

    let is_zero = label == DEAD || broken != 0u;
    // A label below first_id wraps to a number past every chunk.
    let own_label = label - params.first_id;
    let is_of_chunk = own_label < params.vocab;
    // Without a width the target's logit is all that is wanted of the row.
    if (params.width == 0u && is_of_chunk && lane == 0u) {
        after[4u * row + 2u] = logits[start + own_label / 4u][own_label % 4u];
    }
    let replaced = select(quads, 0u, params.width == 0u);
    for (var quad = lane; quad < replaced; quad += STEP) {
        let bits = logits[start + quad];
        let column = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
        let is_real = column < vec4<u32>(params.vocab);
        let is_label = is_real & (column == vec4<u32>(own_label));
        let grown = bitcast<vec4<u32>>(exp(bitcast<vec4<f32>>(bits) - peak));
        logits[start + quad] = select(vec4<u32>(0u), grown, is_real & vec4<bool>(!is_zero));
        if (any(is_label)) {
            let own = select(vec4<u32>(0u), bits, is_label);
            after[4u * row + 2u] = (own.x | own.y) | (own.z | own.w);
        }
    }
    // Most chunks leave the maximum of a row as it is.
    if (!is_first && rescale != 1.0) {
        let width = params.width / 4u;
        for (var quad = lane; quad < width; quad += STEP) {
            sums[row * width + quad] *= rescale;
        }
    }
    if (lane == 0u) {
        after[4u * row] = bitcast<u32>(peak);
        after[4u * row + 1u] = bitcast<u32>(total);
        after[4u * row + 3u] = broken;
        if (!is_of_chunk) {
            after[4u * row + 2u] = known.z;
        }
    }
{% endcall %}
