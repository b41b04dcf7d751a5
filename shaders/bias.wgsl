// y[m, offset + n] += bias[n]        for n < cols
//
// The bias of frozen linear layers, added behind their product. It is frozen, so backward has no part in it.
//
// y [rows, stride], in place; bias [cols]; all f32. The lanes of the bias past a layer's width are zero.
//
// An invocation owns four elements of y.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("bias::Params") }}
@group(0) @binding(1) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

{% call each_element("params.rows * (params.cols / 4u)") %}
    let quads = params.cols / 4u;
    let quad = index % quads;
    y[(index / quads * params.stride + params.offset) / 4u + quad] += bias[quad];
{% endcall %}
