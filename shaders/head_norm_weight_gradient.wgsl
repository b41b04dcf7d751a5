// dweight[i] += sum_{m, h} dout[m, c] * (qkv[m, c] * r)        r = 1 / sqrt(mean_i qkv[m, c]^2 + eps)
//     for feature i of head h, in column c
//
// The gradient of one of the weights of head_norm_forward (arXiv:1910.07467, equation 4), whose `heads` begin at column
// `offset`. The root is computed again for each quad: heads are short.
//
// qkv, dout [rows, stride]; dweight [head_dim]; all f32.
{% from "shared/each_column.wgsl" import each_column %}
{{ params("head_norm::WeightParams") }}
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dout: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dweight: array<vec4<f32>>;

fn root_at(start: u32) -> f32 {
    var squares = vec4<f32>();
    for (var quad = 0u; quad < params.head_dim / 4u; quad++) {
        let x = qkv[start + quad];
        squares += x * x;
    }
    let sum = (squares.x + squares.y) + (squares.z + squares.w);
    return inverseSqrt(sum / f32(params.head_dim) + params.eps);
}

{% call each_column("(params.rows * params.heads)", "(params.head_dim / 4u)", "dweight") %}
    let start = (row / params.heads * params.stride + params.offset + row % params.heads * params.head_dim) / 4u;
    sum += dout[start + quad] * (qkv[start + quad] * root_at(start));
{% endcall %}
