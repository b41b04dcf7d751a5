// dweight[c] += sum_m dout[m, c] * (inp[m, c] * rstd[m])
//
// The gradient of the weight of rms_norm_forward (arXiv:1910.07467, equation 4).
//
// dout, inp [rows, stride]; rstd [rows]; dweight [stride]; all f32. Lanes past `cols` are zero in inp and so stay as they
// are in dweight.
{% from "shared/each_column.wgsl" import each_column %}
{{ params("rms_norm::Params") }}
@group(0) @binding(1) var<storage, read> dout: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> inp: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> rstd: array<f32>;
@group(0) @binding(4) var<storage, read_write> dweight: array<vec4<f32>>;

{% call each_column("params.rows", "(params.stride / 4u)", "dweight") %}
    let at = row * (params.stride / 4u) + quad;
    sum += dout[at] * (inp[at] * rstd[row]);
{% endcall %}
