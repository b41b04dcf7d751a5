// dbias[n] += sum_m dy[m, offset + n]        for n < cols
//
// dy [rows, stride]; dbias [cols]; all f32. The lanes past a layer's width are zero in dy and so stay as they are.
{% from "shared/each_column.wgsl" import each_column %}
{{ params("bias::Params") }}
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> dbias: array<vec4<f32>>;

{% call each_column("params.rows", "(params.cols / 4u)", "dbias") %}
    sum += dy[(row * params.stride + params.offset) / 4u + quad];
{% endcall %}
