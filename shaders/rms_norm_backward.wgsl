// dinp[m, c] = rstd[m] * (g[c] - xhat[c] * mean_c(g * xhat)) + dresidual[m, c]
//     where g[c] = dout[m, c] * weight[c] and xhat[c] = inp[m, c] * rstd[m]
//
// The gradient of rms_norm_forward (arXiv:1910.07467, equation 4) joined with the gradient that the
// residual stream brings past the norm. The weight is frozen and gets none.
//
// dout, inp, dresidual, dinp [rows, stride]; weight [stride]; rstd [rows]; all f32. The mean is over
// `cols`; lanes past it are zero in all inputs and so in dinp.
//
// A workgroup of 64 owns one row; the f32 sum is in a fixed order.
struct Params {
    rows: u32,
    cols: u32,
    stride: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dout: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> inp: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> rstd: array<f32>;
@group(0) @binding(5) var<storage, read> dresidual: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> dinp: array<vec4<f32>>;

{% include "shared/sum_64.wgsl" %}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x + group.y * groups.x;
    // Uniform: the whole workgroup leaves.
    if (row >= params.rows) {
        return;
    }
    let quads = params.stride / 4u;
    let start = row * quads;
    let scale = rstd[row];

    var products = vec4<f32>(0.0);
    for (var quad = lane; quad < quads; quad += 64u) {
        products += (dout[start + quad] * weight[quad]) * (inp[start + quad] * scale);
    }
    let total = sum_64((products.x + products.y) + (products.z + products.w), lane);
    let mean = total / f32(params.cols);

    for (var quad = lane; quad < quads; quad += 64u) {
        let g = dout[start + quad] * weight[quad];
        let normalised = inp[start + quad] * scale;
        dinp[start + quad] = scale * (g - normalised * mean) + dresidual[start + quad];
    }
}
