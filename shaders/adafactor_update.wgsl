// g = grad * clip
// R[r] <- beta2 * R[r] + (1 - beta2) * (mean_c g[r, c]^2 + eps)
// C[c] <- beta2 * C[c] + (1 - beta2) * (mean_r g[r, c]^2 + eps)
// u[r, c] = g[r, c] / sqrt(R[r] / mean(R) * C[c])
// param <- param * (1 - lr * weight_decay, or 1 without `decays`) - lr * u / max(1, rms(u))
//     beta2 = 1 - step^-0.8
//
// Adafactor: Shazeer and Stern 2018 (arXiv:1804.04235), algorithms 4 and 5 with the clipping of section 6 and the decay of
// section 7.2, as transformers.optimization.Adafactor computes it without scale_parameter, relative_step and beta1, with a
// clip_threshold of 1. There the moment of a vector's value is its own; a vector is a matrix of one row here, in which
// R / mean(R) is 1.
//
// The kernels of a step are adafactor_squares and adafactor_moments for R and C, adafactor_ratios and adafactor_scales for
// what is the same in all of a matrix, lr * sqrt(mean(R)) / max(1, rms(u)), and this one.
//
// param, grad f32, in which tiles lie as their table says; stats [4] f32 from grad_norm_finish: clip at 1, finite at 2,
// whether the step before was applied at 3; hyper as adafactor_moments has it; moments f32: R, C; scales [matrices] f32.
// Where the gradient is not finite nothing is changed. Padding has no gradient and stays zero.
//
// A workgroup of 64 owns a tile: an invocation has a column quad of 16 in every fourth row.
{% from "shared/each_group.wgsl" import each_group %}
{{ params("adafactor::UpdateParams") }}
{{ host_struct("adafactor::Hyper") }}
{{ host_struct("adafactor::Tile") }}
@group(0) @binding(1) var<storage, read> grad: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> stats: array<f32>;
@group(0) @binding(3) var<storage, read> hypers: array<Hyper, 2>;
@group(0) @binding(4) var<storage, read> tiles: array<Tile>;
@group(0) @binding(5) var<storage, read> moments: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> scales: array<f32>;
@group(0) @binding(7) var<storage, read_write> param: array<vec4<f32>>;

{% call each_group("params.count") %}
    let tile = tiles[index];
    let quad = lane % 16u;
    if (stats[2] != 1.0 || quad * 4u >= tile.cols) {
        return;
    }
    let hyper = hypers[select(0u, 1u, stats[3] == 1.0)];
    let decay = select(1.0, hyper.decay, params.decays == 1u);
    let scale = scales[tile.matrix];
    let of_cols = inverseSqrt(moments[tile.col_moments / 4u + quad]);
    for (var row = lane / 16u; row < tile.rows; row += 4u) {
        let moment = tile.row_moments + row;
        let of_row = stats[1] * inverseSqrt(moments[moment / 4u][moment % 4u]);
        let at = (tile.first + row * tile.stride) / 4u + quad;
        param[at] = param[at] * decay - scale * (grad[at] * of_row * of_cols);
    }
{% endcall %}
