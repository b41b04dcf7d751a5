//! variant tile: direct shared
//! variant weight: nf4 nf4_any f32 f16 bf16
// dX = dY·W + dT·A + residual: the gradient of a frozen linear layer's input, with its LoRA panel.
//
// dY [M, N] rows of y_stride from y_offset; W [N, K] in its stored format (shared/weight.wgsl),
// read as the forward pass reads it, so no transposed copy exists; dT [M, t_stride] and A
// [t_stride, K], R rows for each stacked layer with LoRA; residual and dX [M, K] rows of x_stride
// from x_offset. `rank` is t_stride, or 0 without LoRA. All arithmetic is f32.
//
// direct: a thread owns 8 rows × 8 columns of dX in named registers. shared: 64 threads own a tile
// of 64 × 64 and stage 16 rows of W in workgroup memory, dY as [n/4][row], W as [n][k/4], 8 KiB.
{% include "shared/linear_params.wgsl" %}
{% set lut = tile == "shared" %}
{% include "shared/weight.wgsl" %}

@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> dt: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> lora_a: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> dx: array<vec4<f32>>;

{% if tile == "shared" %}
var<workgroup> dys: array<vec4<f32>, 256>;
var<workgroup> ws: array<vec4<f32>, 256>;
{% endif %}

{% set size = 16 if tile == "direct" else 64 %}
@compute @workgroup_size({{ size }})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let group_index = group.x + group.y * groups.x;
    let last_row = params.rows - 1u;
    {% for i in range(8) %}
    var c{{ i }}a = vec4<f32>();
    var c{{ i }}b = vec4<f32>();
    {% endfor %}
    {% if tile == "direct" %}
    let col_blocks = params.depth / 8u;
    let index = group_index * {{ size }}u + thread;
    let row0 = index / col_blocks * 8u;
    let col8 = index % col_blocks;
    if row0 >= params.rows { return; }
    {% for i in range(8) %}
    let y{{ i }} = (min(row0 + {{ i }}u, last_row) * params.y_stride + params.y_offset) / 4u;
    {% endfor %}
    for (var n = 0u; n < params.cols; n += 4u) {
        {% for i in range(8) %}
        let g{{ i }} = dy[y{{ i }} + n / 4u];
        {% endfor %}
        {% for lane in ["x", "y", "z", "w"] %}
        {
            let w = load_weight(n + {{ loop.index0 }}u, col8);
            {% for i in range(8) %}
            c{{ i }}a += g{{ i }}.{{ lane }} * w.a;
            c{{ i }}b += g{{ i }}.{{ lane }} * w.b;
            {% endfor %}
        }
        {% endfor %}
    }
    let k_a = col8 * 2u;
    let k_b = k_a + 1u;
    {% else %}
    let col_tiles = (params.depth + 63u) / 64u;
    let tile_row = group_index / col_tiles * 64u;
    let tile_col8 = group_index % col_tiles * 8u;
    let last_col8 = params.depth / 8u - 1u;
    let row0 = tile_row + thread / 8u * 8u;
    {% if weight == "nf4" or weight == "nf4_any" %}
    fill_nf4_table(thread);
    {% endif %}
    for (var n16 = 0u; n16 < params.cols; n16 += 16u) {
        workgroupBarrier();
        // N may end in the middle of the 16: the second half is then zero.
        let y_row = (min(tile_row + thread, last_row) * params.y_stride + params.y_offset + n16) / 4u;
        {% for half in range(2) %}
        if n16 + {{ 8 * half }}u < params.cols {
            dys[{{ 128 * half }}u + thread] = dy[y_row + {{ 2 * half }}u];
            dys[{{ 128 * half + 64 }}u + thread] = dy[y_row + {{ 2 * half + 1 }}u];
            let w = load_weight(n16 + {{ 8 * half }}u + thread / 8u, min(tile_col8 + thread % 8u, last_col8));
            let place = {{ 128 * half }}u + thread / 8u * 16u + thread % 8u;
            ws[place] = w.a;
            ws[place + 8u] = w.b;
        } else {
            dys[{{ 128 * half }}u + thread] = vec4<f32>();
            dys[{{ 128 * half + 64 }}u + thread] = vec4<f32>();
            ws[{{ 128 * half }}u + thread] = vec4<f32>();
            ws[{{ 128 * half + 64 }}u + thread] = vec4<f32>();
        }
        {% endfor %}
        workgroupBarrier();
        for (var n4 = 0u; n4 < 4u; n4++) {
            {% for i in range(8) %}
            let g{{ i }} = dys[n4 * 64u + thread / 8u * 8u + {{ i }}u];
            {% endfor %}
            {% for lane in ["x", "y", "z", "w"] %}
            {
                let w_a = ws[(n4 * 4u + {{ loop.index0 }}u) * 16u + thread % 8u];
                let w_b = ws[(n4 * 4u + {{ loop.index0 }}u) * 16u + thread % 8u + 8u];
                {% for i in range(8) %}
                c{{ i }}a += g{{ i }}.{{ lane }} * w_a;
                c{{ i }}b += g{{ i }}.{{ lane }} * w_b;
                {% endfor %}
            }
            {% endfor %}
        }
    }
    if row0 >= params.rows || tile_col8 + thread % 8u > last_col8 { return; }
    let k_a = (tile_col8 + thread % 8u) * 2u;
    let k_b = k_a + 1u;
    {% endif %}

    {% for i in range(8) %}
    c{{ i }}a *= params.scale;
    c{{ i }}b *= params.scale;
    {% endfor %}
    for (var r = 0u; r < params.rank; r += 4u) {
        {% for i in range(8) %}
        let g{{ i }} = dt[(min(row0 + {{ i }}u, last_row) * params.t_stride + r) / 4u];
        {% endfor %}
        {% for lane in ["x", "y", "z", "w"] %}
        {
            let a_a = lora_a[(r + {{ loop.index0 }}u) * (params.depth / 4u) + k_a];
            let a_b = lora_a[(r + {{ loop.index0 }}u) * (params.depth / 4u) + k_b];
            {% for i in range(8) %}
            c{{ i }}a += g{{ i }}.{{ lane }} * a_a;
            c{{ i }}b += g{{ i }}.{{ lane }} * a_b;
            {% endfor %}
        }
        {% endfor %}
    }

    {% for i in range(8) %}
    if row0 + {{ i }}u < params.rows {
        let base = ((row0 + {{ i }}u) * params.x_stride + params.x_offset) / 4u;
        if params.add_residual != 0u {
            c{{ i }}a += residual[base + k_a];
            c{{ i }}b += residual[base + k_b];
        }
        dx[base + k_a] = c{{ i }}a;
        dx[base + k_b] = c{{ i }}b;
    }
    {% endfor %}
}
