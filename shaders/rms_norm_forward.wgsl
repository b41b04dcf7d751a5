//! variant residual: plain residual
//! variant team: alone group
// out[m, c] = weight[c] * (inp[m, c] * rstd[m])        rstd[m] = 1 / sqrt(mean_c inp[m, c]^2 + eps)
//     + residual[m, c] in the variant `residual`
//
// RMSNorm: Zhang and Sennrich 2019 (arXiv:1910.07467), equation 4, with transformers' epsilon inside
// the root.
//
// inp, residual, out [rows, stride]; weight [stride]; rstd [rows]; all f32. The mean is over `cols`; the lanes
// past it are zero in inp and weight, so they add nothing and come out as zero,
// or as the residual's, which are zero too.
//
// group: a workgroup of 64 owns one row; alone: an invocation does, which CPU adapters do best. Sums of squares
// are f32: four strided chains an invocation, then a fixed-order sum. They overflow only where |inp| passes 1e18.
{% from "shared/each_row.wgsl" import each_row %}
{{ params("rms_norm::Params") }}
@group(0) @binding(1) var<storage, read> inp: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> rstd: array<f32>;
{% if residual == "residual" %}
@group(0) @binding(5) var<storage, read> residual: array<vec4<f32>>;
{% endif %}

{% if team == "group" %}
{% include "shared/sum_64.wgsl" %}
{% endif %}
{% set step = "64u" if team == "group" else "1u" %}

{% call each_row(64) %}
    var squares = vec4<f32>(0.0);
    for (var quad = lane; quad < quads; quad += {{ step }}) {
        let x = inp[start + quad];
        squares += x * x;
    }
    let sum = (squares.x + squares.y) + (squares.z + squares.w);
    {% if team == "group" %}
    let total = sum_64(sum, lane);
    {% else %}
    let total = sum;
    {% endif %}
    let scale = inverseSqrt(total / f32(params.cols) + params.eps);

    for (var quad = lane; quad < quads; quad += {{ step }}) {
        out[start + quad] = weight[quad] * (inp[start + quad] * scale){{ " + residual[start + quad]" if residual == "residual" }};
    }
    if (lane == 0u) {
        rstd[row] = scale;
    }
{% endcall %}
