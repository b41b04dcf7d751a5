// partials[tile] = sum_rc (grad[r, c] * clip)^2 / (R[r] * C[c])        for rows r and columns c of a tile
//
// R, C: the moments of rows and of columns from adafactor_moments. Their product is never formed, because it may be less
// than f32 holds. adafactor_update has all of Adafactor's equations.
//
// grad f32, in which tiles lie as their table says; stats [4] f32 from grad_norm_finish: clip at 1; moments f32;
// partials [tiles] f32.
//
// A workgroup of 64 owns a tile: an invocation has a column quad of 16 in every fourth row.
{% from "shared/each_group.wgsl" import each_group %}
{{ params("adafactor::Params") }}
{{ host_struct("adafactor::Tile") }}
@group(0) @binding(1) var<storage, read> grad: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> stats: array<f32>;
@group(0) @binding(3) var<storage, read> tiles: array<Tile>;
@group(0) @binding(4) var<storage, read> moments: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> partials: array<f32>;

{% include "shared/sum_64.wgsl" %}

{% call each_group("params.count") %}
    let tile = tiles[index];
    let quad = lane % 16u;
    var squares = vec4<f32>();
    if (quad * 4u < tile.cols) {
        let of_cols = inverseSqrt(moments[tile.col_moments / 4u + quad]);
        for (var row = lane / 16u; row < tile.rows; row += 4u) {
            let moment = tile.row_moments + row;
            let of_row = stats[1] * inverseSqrt(moments[moment / 4u][moment % 4u]);
            let ratio = grad[(tile.first + row * tile.stride) / 4u + quad] * of_row * of_cols;
            squares += ratio * ratio;
        }
    }
    let sum = sum_64((squares.x + squares.y) + (squares.z + squares.w), lane);
    if (lane == 0u) {
        partials[tile.number] = sum;
    }
{% endcall %}
