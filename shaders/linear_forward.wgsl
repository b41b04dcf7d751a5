//! variant tile: direct shared
//! variant weight: nf4 nf4_any f32 f16 bf16
// Y = scale · X·Wᵀ + T·Bᵀ + residual: a frozen linear layer with its LoRA panel.
//
// X [M, K] rows of x_stride from x_offset; W [N, K] in its stored format (shared/weight.wgsl);
// T [M, t_stride] = X·Aᵀ of the layers stacked in W; B [N, R] of each stacked layer at its base;
// residual and Y [M, N] rows of y_stride from y_offset. K and N are multiples of 8, R too.
// Columns below section_end.x belong to the first stacked layer, and so on; t_offset is where its
// T begins, or NONE for a layer without LoRA. All arithmetic is f32.
//
// direct: a thread of a workgroup of 16 owns 8 rows × 8 columns in named registers and reads
// straight from storage, which is the fastest on CPU adapters. shared: 64 threads own a tile of 64 × 64 and stage
// 16 values of K in workgroup memory, X as [k/4][row], W as [k/4][column], 8 KiB in all.
{% include "shared/linear_params.wgsl" %}
{% set lut = tile == "shared" %}
{% include "shared/weight.wgsl" %}

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> t: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> lora_b: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> y: array<vec4<f32>>;

{% if tile == "shared" %}
var<workgroup> xs: array<vec4<f32>, 256>;
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
    {% for j in range(8) %}
    var c{{ i }}_{{ j }} = 0.0;
    {% endfor %}
    {% endfor %}
    {% if tile == "direct" %}
    let col_blocks = params.cols / 8u;
    let index = group_index * {{ size }}u + thread;
    let row0 = index / col_blocks * 8u;
    let col0 = index % col_blocks * 8u;
    if row0 >= params.rows { return; }
    {% for i in range(8) %}
    let x{{ i }} = (min(row0 + {{ i }}u, last_row) * params.x_stride + params.x_offset) / 4u;
    {% endfor %}
    for (var k8 = 0u; k8 < params.depth / 8u; k8++) {
        {% for i in range(8) %}
        let a{{ i }} = x[x{{ i }} + k8 * 2u];
        let b{{ i }} = x[x{{ i }} + k8 * 2u + 1u];
        {% endfor %}
        {% for j in range(8) %}
        {
            let w = load_weight(col0 + {{ j }}u, k8);
            {% for i in range(8) %}
            c{{ i }}_{{ j }} += dot(a{{ i }}, w.a) + dot(b{{ i }}, w.b);
            {% endfor %}
        }
        {% endfor %}
    }
    {% else %}
    let col_tiles = (params.cols + 63u) / 64u;
    let tile_row = group_index / col_tiles * 64u;
    let tile_col = group_index % col_tiles * 64u;
    let last_col = params.cols - 1u;
    let row0 = tile_row + thread / 8u * 8u;
    let col0 = tile_col + thread % 8u * 8u;
    {% if weight == "nf4" or weight == "nf4_any" %}
    fill_nf4_table(thread);
    {% endif %}
    for (var k16 = 0u; k16 < params.depth; k16 += 16u) {
        workgroupBarrier();
        // K may end in the middle of the 16: the second half is then zero.
        let x_row = (min(tile_row + thread, last_row) * params.x_stride + params.x_offset + k16) / 4u;
        let w_row = min(tile_col + thread, last_col);
        let w_place = thread % 8u * 8u + thread / 8u;
        {% for half in range(2) %}
        if k16 + {{ 8 * half }}u < params.depth {
            xs[{{ 128 * half }}u + thread] = x[x_row + {{ 2 * half }}u];
            xs[{{ 128 * half + 64 }}u + thread] = x[x_row + {{ 2 * half + 1 }}u];
            let w = load_weight(w_row, k16 / 8u + {{ half }}u);
            ws[{{ 128 * half }}u + w_place] = w.a;
            ws[{{ 128 * half + 64 }}u + w_place] = w.b;
        } else {
            xs[{{ 128 * half }}u + thread] = vec4<f32>();
            xs[{{ 128 * half + 64 }}u + thread] = vec4<f32>();
            ws[{{ 128 * half }}u + thread] = vec4<f32>();
            ws[{{ 128 * half + 64 }}u + thread] = vec4<f32>();
        }
        {% endfor %}
        workgroupBarrier();
        for (var k4 = 0u; k4 < 4u; k4++) {
            {% for i in range(8) %}
            let a{{ i }} = xs[k4 * 64u + thread / 8u * 8u + {{ i }}u];
            {% endfor %}
            {% for j in range(8) %}
            let w{{ j }} = ws[k4 * 64u + {{ 8 * j }}u + thread % 8u];
            {% for i in range(8) %}
            c{{ i }}_{{ j }} += dot(a{{ i }}, w{{ j }});
            {% endfor %}
            {% endfor %}
        }
    }
    if row0 >= params.rows || col0 >= params.cols { return; }
    {% endif %}

    {% for i in range(8) %}
    var out{{ i }}a = params.scale * vec4<f32>(c{{ i }}_0, c{{ i }}_1, c{{ i }}_2, c{{ i }}_3);
    var out{{ i }}b = params.scale * vec4<f32>(c{{ i }}_4, c{{ i }}_5, c{{ i }}_6, c{{ i }}_7);
    {% endfor %}

    if params.rank > 0u {
        var section = 0u;
        var section_start = 0u;
        if col0 >= params.section_end.x { section = 1u; section_start = params.section_end.x; }
        if col0 >= params.section_end.y { section = 2u; section_start = params.section_end.y; }
        let t_offset = params.t_offset[section];
        if t_offset != NONE {
            let rank4 = params.rank / 4u;
            let b_base = params.b_base[section] / 4u + (col0 - section_start) * rank4;
            for (var r = 0u; r < rank4; r++) {
                {% for j in range(8) %}
                let l{{ j }} = lora_b[b_base + {{ j }}u * rank4 + r];
                {% endfor %}
                {% for i in range(8) %}
                {
                    let p = t[(min(row0 + {{ i }}u, last_row) * params.t_stride + t_offset) / 4u + r];
                    out{{ i }}a += vec4<f32>(dot(p, l0), dot(p, l1), dot(p, l2), dot(p, l3));
                    out{{ i }}b += vec4<f32>(dot(p, l4), dot(p, l5), dot(p, l6), dot(p, l7));
                }
                {% endfor %}
            }
        }
    }

    {% for i in range(8) %}
    if row0 + {{ i }}u < params.rows {
        let place = ((row0 + {{ i }}u) * params.y_stride + params.y_offset + col0) / 4u;
        if params.add_residual != 0u {
            out{{ i }}a += residual[place];
            out{{ i }}b += residual[place + 1u];
        }
        y[place] = out{{ i }}a;
        y[place + 1u] = out{{ i }}b;
    }
    {% endfor %}
}
