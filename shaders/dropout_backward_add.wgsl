// dinp[i] += dout[i] * mask[i] / (1 - p)
//
// The gradient of dropout_forward, added to what dinp holds; the mask is computed again from the same
// (seed, stream, i). dout, dinp [n] f32, n a multiple of 4; seed [1] u32.
//
// An invocation owns four elements.
{% from "shared/each_element.wgsl" import each_element %}
{% include "shared/dropout.wgsl" %}
@group(0) @binding(2) var<storage, read> dout: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dinp: array<vec4<f32>>;

{% call each_element("params.n / 4u") %}
    let is_kept = kept(index, params.stream, seed[0], params.threshold);
    dinp[index] += select(vec4<f32>(0.0), dout[index] * params.scale, is_kept);
{% endcall %}
