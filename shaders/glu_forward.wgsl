//! variant act: silu gelu_tanh
//! variant lies: aligned anywhere
// out[m, f] = act(gate[m, f]) * up[m, f]
//
// Gated linear units: Shazeer 2020 (arXiv:2002.05202), equation 6, SwiGLU by silu and GEGLU by gelu_tanh.
//
// gate_up [rows, stride]: gate in the columns from 0, up in the columns from `up`, `width` of each; out
// [rows, cols], zero past `width`; all f32. Lanes past F are zero and stay so.
//
// An invocation owns four elements of out. Where up begins at a column that 4 does not divide, gate_up is read value
// by value.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("glu::Params") }}
@group(0) @binding(1) var<storage, read> gate_up: array<{{ "vec4<f32>" if lies == "aligned" else "f32" }}>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

{% include "shared/act.wgsl" %}

{% include "shared/glu_four.wgsl" %}

{% call each_element("params.rows * (params.cols / 4u)") %}
    let quads = params.cols / 4u;
    let column = 4u * (index % quads);
    let at = index / quads * params.stride + column;
    let gate = four(at);
    let takes_part = vec4(column) + vec4(0u, 1u, 2u, 3u) < vec4(params.width);
    out[index] = select(vec4(0.0), gate * sigmoids(logit(gate)).of_x * four(at + params.up), takes_part);
{% endcall %}
