// moments[i] <- beta2 * moments[i] + (1 - beta2) * (sum_tiles sums[tile, i] / values + eps)
//
// The moments of rows and of columns: running means of the squares of the gradient in them. adafactor_update has all of
// Adafactor's equations.
//
// sums [tiles, 128] f32 from adafactor_squares; stats [4] f32 from grad_norm_finish: finite at 2, whether the step before
// was at 3; hyper as the host computes it in f64 for each step, first for where the step before was not applied, then for
// where it was; moments f32. Where the gradient is not finite nothing is changed.
//
// A workgroup of 64 owns a line, the moments that lie in the same tiles, and an invocation one of them.
{% from "shared/each_group.wgsl" import each_group %}
{{ params("adafactor::Params") }}
{{ host_struct("adafactor::Hyper") }}
{{ host_struct("adafactor::Line") }}
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read> stats: array<f32>;
@group(0) @binding(3) var<storage, read> hypers: array<Hyper, 2>;
@group(0) @binding(4) var<storage, read> lines: array<Line>;
@group(0) @binding(5) var<storage, read_write> moments: array<f32>;

{% call each_group("params.count") %}
    let line = lines[index];
    if (stats[2] != 1.0 || lane >= line.len) {
        return;
    }
    var sum = 0.0;
    for (var tile = 0u; tile < line.tiles; tile++) {
        sum += sums[line.first + tile * line.step + lane];
    }
    let hyper = hypers[select(0u, 1u, stats[3] == 1.0)];
    let at = line.moments + lane;
    moments[at] = hyper.beta2 * moments[at] + hyper.one_minus_beta2 * (sum / f32(line.values) + hyper.eps);
{% endcall %}
