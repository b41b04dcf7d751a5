// T·Bᵀ of the stacked layer that a column belongs to.
{% from "shared/linear/shared_rows.wgsl" import shared_row %}
{% from "shared/linear/products.wgsl" import add_rows, add_dots, rows_of %}
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
