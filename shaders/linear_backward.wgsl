//! variant tile: direct subgroup4 subgroup8 shared32 shared64 shared128 half64 half128 cooperative8 cooperative16
//! variant weight: nf4 nf4_any f32 f16 bf16
//! without half64: f32 bf16
//! without half128: f32 bf16
//! without cooperative8: f32 bf16
//! without cooperative16: f32 bf16
//! native: cooperative8 cooperative16
// dX = scale · dY·W + dT·A + residual: the gradient of a frozen linear layer's input, with its LoRA panel.
//
// dY [M, N] rows of y_stride from y_offset; W [N, K] in its stored format (shared/weight.wgsl),
// read as the forward pass reads it, so no transposed copy exists; dT [M, t_stride] and A
// [t_stride, K], R rows for each stacked layer with LoRA; residual and dX [M, K] rows of x_stride
// from x_offset. `rank` is t_stride, or 0 without LoRA. All arithmetic is f32; the half
// tiles and the cooperative ones round W to f16.
//
// An invocation owns `rows` × 8 results, every `step`th row as two vec4; shared/tile.wgsl says where they lie.
// They are named registers, but for those of subgroup4: they stay in memory, and are finished `last` rows at a
// time. Where a subgroup shares its rows, a turn covers eight rows of W, so that a result
// is added to half as often.
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
{% from "shared/products.wgsl" import add_rows, add_dots, columns_of %}
{% if is_half %}
enable f16;
{% endif %}
{% if side %}
enable wgpu_cooperative_matrix;
{% endif %}
{% include "shared/linear_params.wgsl" %}
{% include "shared/tile.wgsl" %}
{% include "shared/weight.wgsl" %}

@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> dt: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> lora_a: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> dx: array<vec4<f32>>;

{% if height %}
{% include "shared/staged.wgsl" %}
{% endif %}
{% if side %}
{% include "shared/cooperative.wgsl" %}
{% elif height %}
// {{ stage }} rows of W: dY as [n/4][row], W as [n][k/4], 6 to 12 KiB in all.
var<workgroup> dys: array<vec4<f32>, {{ stage // 4 * height }}>;
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
    let tile = tile_of(group.x + group.y * groups.x, thread, params.depth);
    let block = tile + block_in_tile(thread);
    let row0 = block.x;
    let last_row = params.rows - 1u;
    // Invocations past the last column still share in loads and exchanges; they write nothing.
    let col8 = min(block.y, params.depth - 8u) / 8u;
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
    let y{{ i }} = (row_{{ i }} * params.y_stride + params.y_offset) / 4u;
    {% endfor %}
    for (var n8 = 0u; n8 < params.cols / 8u; n8++) {
        {% for j in range(8) %}
        let eight{{ j }} = load_weight(n8 * 8u + {{ j }}u, col8);
        {% endfor %}
        {{ columns_of("eight", 0, "w") }}
        {{ columns_of("eight", 4, "v") }}
        {% set input = "dy" %}
        {% set place = "y" %}
        {% set turn = "n8" %}
        {% include "shared/lanes_product.wgsl" %}
    }
    {% elif side %}
    {% set input = "dy" %}
    {% set inner = "params.cols" %}
    {% set stride = "params.y_stride" %}
    {% set offset = "params.y_offset" %}
    {% set is_transposed = true %}
    {% include "shared/cooperative_product.wgsl" %}
    {% elif tile == "direct" %}
    if row0 >= params.rows { return; }
    {% for i in range(rows) %}
    let y{{ i }} = (min(row0 + {{ i }}u, last_row) * params.y_stride + params.y_offset) / 4u;
    {% endfor %}
    for (var n4 = 0u; n4 < params.cols / 4u; n4++) {
        {% for j in range(4) %}
        let w{{ j }} = load_weight(n4 * 4u + {{ j }}u, col8);
        {% endfor %}
        {% for i in range(rows) %}
        {{ add_rows("c%da" | format(i), "c%db" | format(i), "dy[y%d + n4]" | format(i)) }}
        {% endfor %}
    }
    {% else %}
    let last_col8 = params.depth / 8u - 1u;
    for (var n0 = 0u; n0 < params.cols; n0 += {{ stage }}u) {
        workgroupBarrier();
        // N may end within what is staged: the rest is then zero.
        let y_row = (min(tile.x + thread, last_row) * params.y_stride + params.y_offset) / 4u;
        {% for quad in range(stage // 4) %}
        let dy{{ quad }} = dy[y_row + min(n0 / 4u + {{ quad }}u, params.cols / 4u - 1u)];
        dys[{{ height * quad }}u + thread] = select(vec4<f32>(), dy{{ quad }}, vec4<bool>(n0 + {{ 4 * quad }}u < params.cols));
        {% endfor %}
        {% for item in range(8 * stage // height) %}
        {
            let n = ({{ item * height }}u + thread) / 8u;
            let is_inside = vec4<bool>(n0 + n < params.cols);
            let w = load_weight(min(n0 + n, params.cols - 1u), min(tile.y / 8u + thread % 8u, last_col8));
            let place = n * 16u + thread % 8u;
            ws[place] = staged(select(vec4<f32>(), w.a, is_inside));
            ws[place + 8u] = staged(select(vec4<f32>(), w.b, is_inside));
        }
        {% endfor %}
        workgroupBarrier();
        for (var n4 = 0u; n4 < {{ stage // 4 }}u; n4++) {
            {% for j in range(4) %}
            let w{{ j }} = Eight(
                vec4<f32>(ws[(n4 * 4u + {{ j }}u) * 16u + thread % 8u]),
                vec4<f32>(ws[(n4 * 4u + {{ j }}u) * 16u + thread % 8u + 8u]),
            );
            {% endfor %}
            {% for i in range(rows) %}
            {{ add_rows("c%da" | format(i), "c%db" | format(i), "dys[n4 * %du + thread / 8u + %du]" | format(height, i * step)) }}
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
    for (var r = 0u; r < params.rank; r += 4u) {
        {% for j in range(4) %}
        let a{{ j }} = (r + {{ j }}u) * (params.depth / 4u) + col8 * 2u;
        let w{{ j }} = Eight(lora_a[a{{ j }}], lora_a[a{{ j }} + 1u]);
        {% endfor %}
        {% if lanes %}
        {{ columns_of("w", 0, "l") }}
        {% for i in range(last // lanes) %}
        let h{{ i }} = dt[(min(first + {{ i * lanes }}u + thread, last_row) * params.t_stride + r) / 4u];
        {% endfor %}
        {% for i in range(last) %}
        {{ add_dots("c%da" | format(i), "c%db" | format(i), [shared_row("h%d" | format(i // lanes), i, lanes)], ["l"]) }}
        {% endfor %}
        {% else %}
        {% for i in range(rows) %}
        {{ add_rows("c%da" | format(i), "c%db" | format(i), "dt[(min(row0 + %du, last_row) * params.t_stride + r) / 4u]" | format(i * step)) }}
        {% endfor %}
        {% endif %}
    }

    let last_place = last_row * params.x_stride;
    if params.add_residual != 0u {
        {% for i in range(last) %}
        let r{{ i }} = (min((first + {{ shared_number(i * step, lanes) }}) * params.x_stride, last_place) + params.x_offset) / 4u + col8 * 2u;
        c{{ i }}a += residual[r{{ i }}];
        c{{ i }}b += residual[r{{ i }} + 1u];
        {% endfor %}
    }
    {% for i in range(last) %}
    if first + {{ shared_number(i * step, lanes) }} < params.rows && block.y == col8 * 8u {
        let place = ((first + {{ shared_number(i * step, lanes) }}) * params.x_stride + params.x_offset) / 4u + col8 * 2u;
        dx[place] = c{{ i }}a;
        dx[place + 1u] = c{{ i }}b;
    }
    {% endfor %}
    {% if in_memory %}
    }
    {% endif %}
}
