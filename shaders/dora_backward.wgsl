// dz[m, n] = (m[n] / norms[n] - minus) * dy[m, offset + n]
//
// dy [M, stride]; dz [M, N]; all f32. No gradient flows through the norms.
//
// An invocation owns four elements of dz.
{% from "shared/each_element.wgsl" import each_element %}
{% include "shared/dora.wgsl" %}
{% include "shared/dora_factors.wgsl" %}
@group(0) @binding(3) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dz: array<vec4<f32>>;

{% call each_element("params.rows * (params.cols / 4u)") %}
    let quads = params.cols / 4u;
    let place = (index / quads * params.stride + params.offset) / 4u + index % quads;
    dz[index] = (factors(index % quads * 4u) - params.minus) * dy[place];
{% endcall %}
