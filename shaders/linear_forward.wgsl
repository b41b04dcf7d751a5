//! variant tile: direct subgroup4 subgroup8 shared32 shared64 shared128 half64 half128 cooperative8 cooperative16
//! variant weight: nf4 nf4_any f32 f16 bf16
//! without half64: f32 bf16
//! without half128: f32 bf16
//! without cooperative8: f32 bf16
//! without cooperative16: f32 bf16
//! native: cooperative8 cooperative16
// Y = scale · X·Wᵀ + T·Bᵀ + residual: a frozen linear layer with its LoRA panel.
//
// X [M, K] rows of x_stride from x_offset; W [N, K] in its stored format (shared/weight.wgsl);
// T [M, t_stride] = X·Aᵀ of the layers stacked in W; B [N, R] of each stacked layer at its base;
// residual and Y [M, N] rows of y_stride from y_offset. K and N are multiples of 8, R too.
// Columns below section_end.x belong to the first stacked layer, and so on; t_offset is where its
// T begins, or NONE for a layer without LoRA. All arithmetic is f32; the half tiles and the
// cooperative ones round W to f16.
//
// An invocation owns `rows` × 8 results, every `step`th row as two vec4; shared/tile.wgsl says where they lie.
// They are named registers, but for those of subgroup4: they stay in memory, and are finished `last` rows at a
// time. Where a subgroup shares its rows, a turn covers eight values of K: a word of
// codes is then loaded once, and a result added to half as often.
{% set lanes = {"subgroup4": 4, "subgroup8": 8}[tile] | default(0) %}
{% set side = {"cooperative8": 8, "cooperative16": 16}[tile] | default(0) %}
{% set subgroup_size = 8 if side == 8 else 32 %}
{% set rows = 32 if lanes else 4 if side else 8 %}
{% set in_memory = tile == "subgroup4" %}
{% set last = lanes if in_memory else rows %}
{% set height = {"shared32": 32, "shared64": 64, "half64": 64, "shared128": 128, "half128": 128}[tile] | default(64 if side else 0) %}
{% set step = height // 8 if height and not side else 1 %}
{% set size = 128 if side else lanes if lanes else height if height else 16 %}
{% set is_half = side or tile in ["half64", "half128"] %}
{% set stage = 32 if tile == "half64" else 16 %}
{% set decode = {"direct": "tree", "subgroup4": "pairs", "subgroup8": "lanes"}[tile] | default("memory") %}
{% from "shared/shared_rows.wgsl" import shared_row, shared_number %}
{% from "shared/products.wgsl" import add_rows, add_dots, rows_of %}
{% if is_half %}
enable f16;
{% endif %}
{% if side %}
enable wgpu_cooperative_matrix;
{% endif %}
{% include "shared/linear_params.wgsl" %}
{% include "shared/tile.wgsl" %}
{% include "shared/weight.wgsl" %}

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> t: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> lora_b: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> y: array<vec4<f32>>;

{% if height %}
{% include "shared/staged.wgsl" %}
{% endif %}
{% if side %}
{% include "shared/cooperative.wgsl" %}
{% elif height %}
// {{ stage }} values of K: X as [k/4][row], W as [k/4][column], 6 to 12 KiB in all.
var<workgroup> xs: array<vec4<f32>, {{ stage // 4 * height }}>;
var<workgroup> ws: array<Staged, {{ stage * 16 }}>;
{% endif %}

@compute @workgroup_size({{ size }})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    {% if side %}
    @builtin(subgroup_id) subgroup: u32,
    {% endif %}
) {
    let tile = tile_of(group.x + group.y * groups.x, thread, params.cols);
    let block = tile + block_in_tile(thread);
    let row0 = block.x;
    let last_row = params.rows - 1u;
    // Invocations past the last column still share in loads and exchanges; they write nothing.
    let col0 = min(block.y, params.cols - 8u);
    {% if in_memory %}
    var c: array<array<vec4<f32>, {{ 2 * last }}>, {{ rows // last }}>;
    {% else %}
    {% for i in range(rows) %}
    var c{{ i }}a = vec4<f32>();
    var c{{ i }}b = vec4<f32>();
    {% endfor %}
    {% endif %}
    {% if decode in ["memory", "lanes"] and weight in ["nf4", "nf4_any"] %}
    fill_nf4_table(thread, {{ size }}u);
    {% endif %}

    {% if lanes %}
    {% for i in range(rows // lanes) %}
    let row_{{ i }} = min(row0 + {{ i * lanes }}u + thread, last_row);
    let x{{ i }} = (row_{{ i }} * params.x_stride + params.x_offset) / 4u;
    {% endfor %}
    {% if weight == "nf4" %}
    {% for j in range(8) %}
    var scale{{ j }} = 0.0;
    {% endfor %}
    {% endif %}
    for (var k8 = 0u; k8 < params.depth / 8u; k8++) {
        {% if weight == "nf4" %}
        if k8 % 8u == 0u {
            {% for j in range(8) %}
            scale{{ j }} = scales[(col0 + {{ j }}u) * (params.depth / 64u) + k8 / 8u];
            {% endfor %}
        }
        {% endif %}
        {% for j in range(8) %}
        {% if weight == "nf4" %}
        let eight{{ j }} = load_codes(col0 + {{ j }}u, k8);
        let w{{ j }} = eight{{ j }}.a * scale{{ j }};
        let v{{ j }} = eight{{ j }}.b * scale{{ j }};
        {% else %}
        let eight{{ j }} = load_weight(col0 + {{ j }}u, k8);
        let w{{ j }} = eight{{ j }}.a;
        let v{{ j }} = eight{{ j }}.b;
        {% endif %}
        {% endfor %}
        {% set input = "x" %}
        {% set place = "x" %}
        {% set turn = "k8" %}
        {% include "shared/lanes_product.wgsl" %}
    }
    {% elif side %}
    {% set input = "x" %}
    {% set inner = "params.depth" %}
    {% set stride = "params.x_stride" %}
    {% set offset = "params.x_offset" %}
    {% set is_transposed = false %}
    {% include "shared/cooperative_product.wgsl" %}
    {% elif tile == "direct" %}
    if row0 >= params.rows { return; }
    {% for i in range(rows) %}
    let row_{{ i }} = min(row0 + {{ i }}u, last_row);
    let x{{ i }} = (row_{{ i }} * params.x_stride + params.x_offset) / 4u;
    {% endfor %}
    for (var k4 = 0u; k4 < params.depth / 4u; k4++) {
        {% for j in range(8) %}
        let quad{{ j }} = load_quad(col0 + {{ j }}u, k4);
        {% endfor %}
        {{ rows_of("quad") }}
        {% for i in range(rows) %}
        {{ add_rows("c%da" | format(i), "c%db" | format(i), "x[x%d + k4]" | format(i)) }}
        {% endfor %}
    }
    {% else %}
    let last_col = params.cols - 1u;
    for (var k0 = 0u; k0 < params.depth; k0 += {{ stage }}u) {
        workgroupBarrier();
        // K may end within what is staged: the rest is then zero.
        let x_row = (min(tile.x + thread, last_row) * params.x_stride + params.x_offset) / 4u;
        {% for quad in range(stage // 4) %}
        let x{{ quad }} = x[x_row + min(k0 / 4u + {{ quad }}u, params.depth / 4u - 1u)];
        xs[{{ height * quad }}u + thread] = select(vec4<f32>(), x{{ quad }}, vec4<bool>(k0 + {{ 4 * quad }}u < params.depth));
        {% endfor %}
        {% for item in range(8 * stage // height) %}
        {
            // Neighbours write to neighbouring places, and so to different banks.
            let place = {{ item * height }}u + thread;
            let eight = place / 64u;
            let column = place % 8u * 8u + place / 8u % 8u;
            let is_inside = vec4<bool>(k0 + 8u * eight < params.depth);
            let k8 = min(k0 / 8u + eight, params.depth / 8u - 1u);
            let w = load_weight(min(tile.y + column, last_col), k8);
            ws[eight * 64u + place] = staged(select(vec4<f32>(), w.a, is_inside));
            ws[eight * 64u + place + 64u] = staged(select(vec4<f32>(), w.b, is_inside));
        }
        {% endfor %}
        workgroupBarrier();
        for (var k4 = 0u; k4 < {{ stage // 4 }}u; k4++) {
            {% for j in range(8) %}
            let quad{{ j }} = vec4<f32>(ws[k4 * 64u + {{ 8 * j }}u + thread % 8u]);
            {% endfor %}
            {{ rows_of("quad") }}
            {% for i in range(rows) %}
            {{ add_rows("c%da" | format(i), "c%db" | format(i), "xs[k4 * %du + thread / 8u + %du]" | format(height, i * step)) }}
            {% endfor %}
        }
    }
    {% endif %}

    {% if in_memory %}
    for (var first = tile.x; first < min(tile.x + {{ rows }}u, params.rows); first += {{ last }}u) {
    {% for i in range(last) %}
    var c{{ i }}a = c[(first - tile.x) / {{ last }}u][{{ 2 * i }}];
    var c{{ i }}b = c[(first - tile.x) / {{ last }}u][{{ 2 * i + 1 }}];
    {% endfor %}
    {% else %}
    let first = row0;
    {% endif %}
    {% for i in range(last) %}
    c{{ i }}a *= params.scale;
    c{{ i }}b *= params.scale;
    {% endfor %}

    {% if lanes %}
    if params.rank > 0u {
        let rank4 = params.rank / 4u;
        var start = 0u;
        for (var section = 0u; section < 3u; section++) {
            let end = min(params.section_end[section], params.cols);
            let t_offset = params.t_offset[section];
            // All invocations take part where one of them has columns of this layer.
            if start < end && start < tile.y + {{ 8 * lanes }}u && tile.y < end && t_offset != NONE {
                let is_mine = vec4<bool>(col0 >= start && col0 < end);
                let b_base = params.b_base[section] / 4u + (clamp(col0, start, end - 8u) - start) * rank4;
                for (var r = 0u; r < rank4; r++) {
                    {% for i in range(last // lanes) %}
                    let h{{ i }} = t[(min(first + {{ i * lanes }}u + thread, last_row) * params.t_stride + t_offset) / 4u + r];
                    {% endfor %}
                    {% for j in range(8) %}
                    let l{{ j }} = select(vec4<f32>(), lora_b[b_base + {{ j }}u * rank4 + r], is_mine);
                    {% endfor %}
                    {% for i in range(last) %}
                    {{ add_dots("c%da" | format(i), "c%db" | format(i), [shared_row("h%d" | format(i // lanes), i, lanes)], ["l"]) }}
                    {% endfor %}
                }
            }
            start = end;
        }
    }
    {% else %}
    if row0 >= params.rows { return; }
    if params.rank > 0u {
        {% set column = "col0" %}
        {% include "shared/section.wgsl" %}
        let t_offset = params.t_offset[section];
        if t_offset != NONE {
            let rank4 = params.rank / 4u;
            let b_base = params.b_base[section] / 4u + (col0 - section_start) * rank4;
            for (var r = 0u; r < rank4; r++) {
                {% for j in range(8) %}
                let quad{{ j }} = lora_b[b_base + {{ j }}u * rank4 + r];
                {% endfor %}
                {{ rows_of("quad") }}
                {% for i in range(rows) %}
                {{ add_rows("c%da" | format(i), "c%db" | format(i), "t[(min(row0 + %du, last_row) * params.t_stride + t_offset) / 4u + r]" | format(i * step)) }}
                {% endfor %}
            }
        }
    }
    {% endif %}

    let last_place = last_row * params.y_stride;
    if params.add_residual != 0u {
        {% for i in range(last) %}
        let r{{ i }} = (min((first + {{ shared_number(i * step, lanes) }}) * params.y_stride, last_place) + params.y_offset + col0) / 4u;
        c{{ i }}a += residual[r{{ i }}];
        c{{ i }}b += residual[r{{ i }} + 1u];
        {% endfor %}
    }
    {% for i in range(last) %}
    if first + {{ shared_number(i * step, lanes) }} < params.rows && block.y == col0 {
        let place = ((first + {{ shared_number(i * step, lanes) }}) * params.y_stride + params.y_offset + col0) / 4u;
        y[place] = c{{ i }}a;
        y[place + 1u] = c{{ i }}b;
    }
    {% endfor %}
    {% if in_memory %}
    }
    {% endif %}
}
