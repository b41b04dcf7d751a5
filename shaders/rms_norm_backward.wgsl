//! variant residual: plain residual
//! variant team: alone group
// dinp[m, c] = rstd[m] * (g[c] - xhat[c] * mean_c(g * xhat))
//     + dresidual[m, c] in the variant `residual`
//     where g[c] = dout[m, c] * weight[c] and xhat[c] = inp[m, c] * rstd[m]
//
// The gradient of rms_norm_forward (arXiv:1910.07467, equation 4), joined with the gradient that a
// residual stream brings past the norm where there is one. The weight is frozen and gets none.
//
// dout, inp, dresidual, dinp [rows, stride]; weight [stride]; rstd [rows]; all f32. The mean is over
// `cols`; lanes past it are zero in all inputs and so in dinp.
//
// group: a workgroup of 64 owns one row; alone: an invocation does, which CPU adapters do
// best; the f32 sum is in a fixed order.
{% from "shared/each_row.wgsl" import each_row %}
{{ params("rms_norm::Params") }}
@group(0) @binding(1) var<storage, read> dout: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> inp: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> rstd: array<f32>;
@group(0) @binding(5) var<storage, read_write> dinp: array<vec4<f32>>;
{% if residual == "residual" %}
@group(0) @binding(6) var<storage, read> dresidual: array<vec4<f32>>;
{% endif %}

{% if team == "group" %}
{% include "shared/sum_64.wgsl" %}
{% endif %}
{% set step = "64u" if team == "group" else "1u" %}

{% call each_row(64) %}
    let scale = rstd[row];

    var products = vec4<f32>(0.0);
    for (var quad = lane; quad < quads; quad += {{ step }}) {
        products += (dout[start + quad] * weight[quad]) * (inp[start + quad] * scale);
    }
    let sum = (products.x + products.y) + (products.z + products.w);
    {% if team == "group" %}
    let total = sum_64(sum, lane);
    {% else %}
    let total = sum;
    {% endif %}
    let mean = total / f32(params.cols);

    for (var quad = lane; quad < quads; quad += {{ step }}) {
        let g = dout[start + quad] * weight[quad];
        let normalised = inp[start + quad] * scale;
        dinp[start + quad] = scale * (g - normalised * mean){{ " + dresidual[start + quad]" if residual == "residual" }};
    }
{% endcall %}
