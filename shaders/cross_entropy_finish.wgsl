// What is left once every chunk of the vocabulary was met, see cross_entropy_chunk. With
// (m, l, logit, broken) = summaries[i], for each row i < rows:
//     row_loss[first + i] = (m - logit) + log(l)
//     rows_out[i, :]     <- (sums[i, :] / l - rows_out[i, :]) * row_weight[first + i]
// where rows_out held the head's row of the target, W[t, :], and then holds the gradient of the hidden row:
// (softmax(logits) - onehot(t)) * W, weighted.
//
// sums, rows_out [rows, width] f32. A target of 0xFFFFFFFF marks a dead row: loss 0, gradient 0. A broken
// row and a target outside the vocabulary give NaN, by its bits, because WGSL lets a compiler assume that
// NaN never occurs.
//
// An invocation owns four elements of rows_out.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("cross_entropy::FinishParams") }}
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read> row_weight: array<f32>;
@group(0) @binding(3) var<storage, read> summaries: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> sums: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> rows_out: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> row_loss: array<u32>;

const DEAD = 0xffffffffu;
const NAN_BITS = 0x7fc00000u;

{% call each_element("params.rows * (params.width / 4u)") %}
    let quads = params.width / 4u;
    let row = index / quads;
    let label = targets[params.first + row];
    let summary = summaries[row];
    let is_dead = label == DEAD;
    let is_broken = summary.w != 0u || label >= params.vocab;
    let total = bitcast<f32>(summary.y);
    let weight = row_weight[params.first + row];
    let grad = (sums[index] / total - bitcast<vec4<f32>>(rows_out[index])) * weight;
    let bits = select(bitcast<vec4<u32>>(grad), vec4<u32>(NAN_BITS), is_broken);
    rows_out[index] = select(bits, vec4<u32>(0u), is_dead);
    if (index % quads == 0u) {
        let loss = (bitcast<f32>(summary.x) - bitcast<f32>(summary.z)) + log(total);
        let loss_bits = select(bitcast<u32>(loss), NAN_BITS, is_broken);
        row_loss[params.first + row] = select(loss_bits, 0u, is_dead);
    }
{% endcall %}
