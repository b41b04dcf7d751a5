// mean = sum_r R[r] / rows
// rms = sqrt(sum_tiles (partials[tile] * mean) / (rows * cols))
// scales[matrix] = lr * sqrt(mean) / max(1, rms)
//
// R: the moments of rows from adafactor_moments. adafactor_update has all of Adafactor's equations.
//
// partials [tiles] f32 from adafactor_ratios, each multiplied with the mean before they are added because that brings
// them near 1; stats [4] f32 from grad_norm_finish: whether the step before was applied at 3; hyper as adafactor_moments
// has it; moments f32, zero where a band of tiles has no row; scales [matrices] f32.
//
// A workgroup of 64 owns a matrix. Sums have a fixed order.
{% from "shared/each_group.wgsl" import each_group %}
{{ params("adafactor::Params") }}
{{ host_struct("adafactor::Hyper") }}
{{ host_struct("adafactor::Matrix") }}
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read> stats: array<f32>;
@group(0) @binding(3) var<storage, read> hypers: array<Hyper, 2>;
@group(0) @binding(4) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(5) var<storage, read> moments: array<f32>;
@group(0) @binding(6) var<storage, read_write> scales: array<f32>;

{% include "shared/sum_64.wgsl" %}

{% call each_group("params.count") %}
    let matrix = matrices[index];
    var of_rows = 0.0;
    for (var place = lane; place < matrix.row_places; place += 64u) {
        of_rows += moments[matrix.row_moments + place];
    }
    let mean = sum_64(of_rows, lane) / f32(matrix.rows);
    var of_tiles = 0.0;
    for (var tile = lane; tile < matrix.tiles; tile += 64u) {
        of_tiles += partials[matrix.first_tile + tile] * mean;
    }
    // All have read the first summands before the second ones are written.
    workgroupBarrier();
    let rms = sqrt(sum_64(of_tiles, lane) / (f32(matrix.rows) * f32(matrix.cols)));
    if (lane == 0u) {
        let hyper = hypers[select(0u, 1u, stats[3] == 1.0)];
        scales[index] = hyper.learning_rate * sqrt(mean) / max(1.0, rms);
    }
{% endcall %}
