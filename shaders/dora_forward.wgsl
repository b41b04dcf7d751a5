// y[m, offset + n] = m[n] / norms[n] * z[m, n] + residual[m, offset + n]
//
// z [M, N]; y, residual [M, stride]; all f32. The factor of layers without LoRA is 1.
//
// An invocation owns four elements of z.
{% from "shared/each_element.wgsl" import each_element %}
{% include "shared/dora.wgsl" %}
{% include "shared/dora_factors.wgsl" %}
@group(0) @binding(3) var<storage, read> z: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

{% call each_element("params.rows * (params.cols / 4u)") %}
    let quads = params.cols / 4u;
    let place = (index / quads * params.stride + params.offset) / 4u + index % quads;
    var value = factors(index % quads * 4u) * z[index];
    if params.add_residual != 0u {
        value += residual[place];
    }
    y[place] = value;
{% endcall %}
