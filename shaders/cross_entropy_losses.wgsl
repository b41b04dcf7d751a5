// The losses alone once every chunk of the vocabulary was met, see cross_entropy_chunk. With
// (m, l, logit, broken) = summaries[i], for each row i < rows:
//     row_loss[first + i] = (m - logit) + log(l)
//     row_miss[first + i] = 0 where the target has the greatest logit, which greedy decoding takes, else 1
//
// A target of 0xFFFFFFFF marks a dead row: both are 0. A broken row and a target outside the vocabulary give NaN, by its bits,
// because WGSL lets a compiler assume that NaN never occurs.
//
// An invocation owns a row.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("cross_entropy::LossesParams") }}
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read> summaries: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> row_loss: array<u32>;
@group(0) @binding(4) var<storage, read_write> row_miss: array<u32>;

const DEAD = 0xffffffffu;
const NAN_BITS = 0x7fc00000u;

{% call each_element("params.rows") %}
    let label = targets[params.first + index];
    let summary = summaries[index];
    let is_dead = label == DEAD;
    let is_broken = summary.w != 0u || label >= params.vocab;
    let loss = (bitcast<f32>(summary.x) - bitcast<f32>(summary.z)) + log(bitcast<f32>(summary.y));
    let miss = select(1.0, 0.0, summary.x == summary.z);
    let bits = select(bitcast<vec2<u32>>(vec2<f32>(loss, miss)), vec2<u32>(NAN_BITS), is_broken);
    let own = select(bits, vec2<u32>(0u), is_dead);
    row_loss[params.first + index] = own.x;
    row_miss[params.first + index] = own.y;
{% endcall %}
