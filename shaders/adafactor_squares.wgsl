// sums[tile, r]      = sum_c (grad[r, c] * clip)^2        for rows r of a tile
// sums[tile, 64 + c] = sum_r (grad[r, c] * clip)^2        for its columns c
//
// The first of Adafactor's kernels; adafactor_update has its equations.
//
// grad f32, in which tiles lie as their table says; stats [4] f32 from grad_norm_finish: clip at 1; sums [tiles, 128] f32,
// of which rows and columns that a tile has not are left as they are.
//
// A workgroup of 64 owns a tile: an invocation has a column quad of 16 in every fourth row. The parts of a sum are added
// in a fixed order.
{% from "shared/each_group.wgsl" import each_group %}
{{ params("adafactor::Params") }}
{{ host_struct("adafactor::Tile") }}
@group(0) @binding(1) var<storage, read> grad: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> stats: array<f32>;
@group(0) @binding(3) var<storage, read> tiles: array<Tile>;
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;

// By row and quad.
var<workgroup> row_parts: array<f32, 1024>;
// By slice of rows and column.
var<workgroup> col_parts: array<f32, 256>;

{% call each_group("params.count") %}
    let tile = tiles[index];
    let quad = lane % 16u;
    let slice = lane / 16u;
    let has_quad = quad * 4u < tile.cols;
    var of_cols = vec4<f32>();
    for (var row = slice; row < tile.rows; row += 4u) {
        var squares = vec4<f32>();
        if (has_quad) {
            let g = grad[(tile.first + row * tile.stride) / 4u + quad] * stats[1];
            squares = g * g;
        }
        of_cols += squares;
        row_parts[row * 16u + quad] = (squares.x + squares.y) + (squares.z + squares.w);
    }
{% for i in range(4) %}
    col_parts[slice * 64u + quad * 4u + {{ i }}u] = of_cols[{{ i }}];
{% endfor %}
    workgroupBarrier();
    if (lane < tile.rows) {
        var sum = 0.0;
        for (var part = 0u; part < 16u; part++) {
            sum += row_parts[lane * 16u + part];
        }
        sums[tile.number * 128u + lane] = sum;
    }
    if (lane < tile.cols) {
        let sum = (col_parts[lane] + col_parts[64u + lane]) + (col_parts[128u + lane] + col_parts[192u + lane]);
        sums[tile.number * 128u + 64u + lane] = sum;
    }
{% endcall %}
