// A tile's product by a subgroup that shares its rows, eight values of the inner dimension a turn: a word of codes is
// then loaded once, and a result added to half as often.
//
// w0 to w7 are the quads of the eight columns for the turn's first four values, v0 to v7 for the next four.
{% from "shared/linear/shared_rows.wgsl" import shared_row %}
{% from "shared/linear/products.wgsl" import add_dots, columns_of %}
{% set keeps_scales = weight == "nf4" and not is_transposed %}
{% for i in range(rows // lanes) %}
let row_{{ i }} = min(row0 + {{ i * lanes }}u + thread, last_row);
let at{{ i }} = (row_{{ i }} * {{ input_stride }} + {{ input_offset }}) / 4u;
{% endfor %}
{% if keeps_scales %}
{% for j in range(8) %}
var scale{{ j }} = 0.0;
{% endfor %}
{% endif %}
for (var turn = 0u; turn < {{ inner }} / 8u; turn++) {
    {% if keeps_scales %}
    // A block of NF4 lasts for eight turns.
    if turn % 8u == 0u {
        {% for j in range(8) %}
        scale{{ j }} = scales[(col0 + {{ j }}u) * (params.depth / 64u) + turn / 8u];
        {% endfor %}
    }
    {% endif %}
    {% for j in range(8) %}
    {% if is_transposed %}
    let eight{{ j }} = load_weight(turn * 8u + {{ j }}u, col8);
    {% elif keeps_scales %}
    let eight{{ j }} = load_codes(col0 + {{ j }}u, turn);
    let w{{ j }} = eight{{ j }}.a * scale{{ j }};
    let v{{ j }} = eight{{ j }}.b * scale{{ j }};
    {% else %}
    let eight{{ j }} = load_weight(col0 + {{ j }}u, turn);
    let w{{ j }} = eight{{ j }}.a;
    let v{{ j }} = eight{{ j }}.b;
    {% endif %}
    {% endfor %}
    {% if is_transposed %}
    {{ columns_of("eight", 0, "w") }}
    {{ columns_of("eight", 4, "v") }}
    {% endif %}
    {% for first in range(0, rows, lanes) %}
    {
        let h = {{ input }}[at{{ first // lanes }} + turn * 2u];
        let e = {{ input }}[at{{ first // lanes }} + turn * 2u + 1u];
        {% for i in range(first, first + lanes) %}
        {% set a = "c[%d][%d]" | format(i // last, i % last * 2) if in_memory else "c%da" | format(i) %}
        {% set b = "c[%d][%d]" | format(i // last, i % last * 2 + 1) if in_memory else "c%db" | format(i) %}
        {{ add_dots(a, b, [shared_row("h", i, lanes), shared_row("e", i, lanes)], ["w", "v"]) }}
        {% endfor %}
    }
    {% endfor %}
}
