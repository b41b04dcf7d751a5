//! variant along: u v
//! variant tile: direct subgroup4 subgroup8
//! native: subgroup8
// G += scale·Uᵀ·V, the gradient of LoRA's A (U = dT, V = X) or B (U = dY, V = T), or of a whole weight (U = dY, V = X).
//
// U [M, u_stride] from u_offset, its columns a; V [M, v_stride], its columns b from the v_offset of
// the stacked layer that a belongs to, or none (NONE); G rows of `width` values, row a of a layer at
// its base. An invocation owns 8 × 8 of G and sums over all M rows in order, so that accumulation over
// micro-batches and the order of the sum are the same in every run.
//
// In the subgroup variants a workgroup is one subgroup, whose invocations own neighbours `along` the
// wide operand and share the values of the narrow one, a row of M each, by broadcast.
{% set lanes = 4 if tile == "subgroup4" else 8 if tile == "subgroup8" else 0 %}
{% set size = lanes if lanes else 16 %}
{% include "shared/lora_grad_params.wgsl" %}

{% macro add_products() %}
{% for lane in ["ua.x", "ua.y", "ua.z", "ua.w", "ub.x", "ub.y", "ub.z", "ub.w"] %}
c{{ loop.index0 }}a += {{ lane }} * va;
c{{ loop.index0 }}b += {{ lane }} * vb;
{% endfor %}
{% endmacro %}
@compute @workgroup_size({{ size }})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    {% for i in range(8) %}
    var c{{ i }}a = vec4<f32>();
    var c{{ i }}b = vec4<f32>();
    {% endfor %}
    let index = group.x + group.y * groups.x;
    let u_stride = params.u_stride / 4u;
    let v_stride = params.v_stride / 4u;
    {% if not lanes %}
    let blocks = params.width / 8u;
    let a = (index * {{ size }}u + thread) / blocks * 8u;
    let b = (index * {{ size }}u + thread) % blocks * 8u;
    let is_inside = a < params.height;
    {% elif along == "u" %}
    let blocks = params.width / 8u;
    let tile_a = index / blocks * {{ 8 * lanes }}u;
    let b = index % blocks * 8u;
    let is_inside = tile_a + thread * 8u < params.height;
    let a = min(tile_a + thread * 8u, params.height - 8u);
    {% else %}
    let blocks = (params.width + {{ 8 * lanes - 1 }}u) / {{ 8 * lanes }}u;
    let a = index / blocks * 8u;
    let tile_b = index % blocks * {{ 8 * lanes }}u;
    let is_inside = tile_b + thread * 8u < params.width;
    let b = min(tile_b + thread * 8u, params.width - 8u);
    {% endif %}

    {% if lanes and along == "u" %}
    var mine = 0u;
    var mine_start = 0u;
    var start = 0u;
    for (var section = 0u; section < 3u; section++) {
        let end = min(params.section_end[section], params.height);
        // All invocations take part where one of them has columns of this layer.
        if start < end && start < tile_a + {{ 8 * lanes }}u && tile_a < end && params.v_offset[section] != NONE {
            let is_mine = a >= start && a < end;
            if is_mine {
                mine = section;
                mine_start = start;
            }
            let u_base = (params.u_offset + a) / 4u;
            let v_base = (params.v_offset[section] + b) / 4u;
            for (var m = 0u; m < params.rows; m += {{ lanes }}u) {
                // Rows past the last one count as zero, and so do columns of other layers.
                let shared_row = v_base + min(m + thread, params.rows - 1u) * v_stride;
                let is_row = vec4<bool>(m + thread < params.rows);
                let ha = select(vec4<f32>(), v[shared_row], is_row);
                let hb = select(vec4<f32>(), v[shared_row + 1u], is_row);
                {% for i in range(lanes) %}
                {
                    let va = subgroupBroadcast(ha, {{ i }}u);
                    let vb = subgroupBroadcast(hb, {{ i }}u);
                    let row = u_base + min(m + {{ i }}u, params.rows - 1u) * u_stride;
                    let ua = select(vec4<f32>(), u[row], vec4<bool>(is_mine));
                    let ub = select(vec4<f32>(), u[row + 1u], vec4<bool>(is_mine));
                    {{ add_products() }}
                }
                {% endfor %}
            }
        }
        start = end;
    }
    let section = mine;
    let section_start = mine_start;
    if !is_inside || params.v_offset[section] == NONE || a < section_start || a >= params.section_end[section] { return; }
    {% else %}
    {% set column = "a" %}
    {% include "shared/section.wgsl" %}
    if params.v_offset[section] == NONE { return; }
    let u_base = (params.u_offset + a) / 4u;
    let v_base = (params.v_offset[section] + b) / 4u;
    {% if lanes %}
    for (var m = 0u; m < params.rows; m += {{ lanes }}u) {
        // Rows past the last one count as zero.
        let shared_row = u_base + min(m + thread, params.rows - 1u) * u_stride;
        let is_row = vec4<bool>(m + thread < params.rows);
        let ha = select(vec4<f32>(), u[shared_row], is_row);
        let hb = select(vec4<f32>(), u[shared_row + 1u], is_row);
        {% for i in range(lanes) %}
        {
            let ua = subgroupBroadcast(ha, {{ i }}u);
            let ub = subgroupBroadcast(hb, {{ i }}u);
            let row = v_base + min(m + {{ i }}u, params.rows - 1u) * v_stride;
            let va = v[row];
            let vb = v[row + 1u];
            {{ add_products() }}
        }
        {% endfor %}
    }
    {% else %}
    if !is_inside { return; }
    for (var m = 0u; m < params.rows; m++) {
        let ua = u[u_base + m * u_stride];
        let ub = u[u_base + m * u_stride + 1u];
        let va = v[v_base + m * v_stride];
        let vb = v[v_base + m * v_stride + 1u];
        {{ add_products() }}
    }
    {% endif %}
    if !is_inside { return; }
    {% endif %}

    let g_base = (params.g_base[section] + (a - section_start) * params.width + b) / 4u;
    {% for i in range(8) %}
    gradient[g_base + {{ i }}u * (params.width / 4u)] += params.scale * c{{ i }}a;
    gradient[g_base + {{ i }}u * (params.width / 4u) + 1u] += params.scale * c{{ i }}b;
    {% endfor %}
}
