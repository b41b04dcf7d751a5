// norms[n] = sqrt(squares[n] + 2 s sum_j B[n, j] P[j, n] + s² sum_ij B[n, i] G[i, j] B[n, j])
//
// The norms of the rows of W + s·B·A, from squares [N] of those of W, P = A·Wᵀ [T, N] and G = A·Aᵀ [T, T], where a stacked
// layer has R rows of A. Columns of layers without LoRA have none.
//
// An invocation owns four columns.
{% from "shared/each_element.wgsl" import each_element %}
{% include "shared/dora.wgsl" %}
@group(0) @binding(1) var<storage, read> squares: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> products: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> gram: array<f32>;
@group(0) @binding(4) var<storage, read> lora_b: array<f32>;
@group(0) @binding(5) var<storage, read_write> norms: array<vec4<f32>>;

fn of_four(first: u32, j: u32) -> vec4<f32> {
    let at = first + j;
    let rank = params.rank;
    return vec4<f32>(lora_b[at], lora_b[at + rank], lora_b[at + 2u * rank], lora_b[at + 3u * rank]);
}

{% call each_element("params.cols / 4u") %}
    let layer = layer_of(index * 4u);
    let t_offset = params.t_offset[layer.number];
    if t_offset != NONE {
        let scale = params.scale[layer.number];
        let first = params.b_base[layer.number] + (index * 4u - layer.start) * params.rank;
        var sum = vec4<f32>();
        for (var j = 0u; j < params.rank; j++) {
            let row = t_offset + j;
            var part = 2.0 * products[row * (params.cols / 4u) + index];
            for (var i = 0u; i < params.rank; i++) {
                part += scale * gram[row * params.t_stride + t_offset + i] * of_four(first, i);
            }
            sum += of_four(first, j) * part;
        }
        norms[quad_of(layer, index * 4u)] = sqrt(max(squares[index] + scale * sum, vec4<f32>(0.0)));
    }
{% endcall %}
