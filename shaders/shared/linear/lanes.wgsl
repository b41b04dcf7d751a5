// A tile's product by a subgroup that shares its rows, eight values of the inner dimension a turn: a word of codes is
// then loaded once, and a result added to half as often.
//
// w0 to w7 are the quads of the eight columns for the turn's first four values, v0 to v7 for the next four.
{% from "shared/linear/shared_rows.wgsl" import shared_row %}
{% from "shared/linear/products.wgsl" import add_dots, columns_of %}
{% set keeps_scales = of_scale and not is_transposed %}
{# Along a row of W what scales the columns of a subgroup is shared by `team` neighbours. Each loads it for some of the
   eight rows of a turn and gets the others' from them; quads have no shuffle that is fast. #}
{% set team = [of_scale, lanes] | min if of_scale and is_transposed and lanes == 8 else 0 %}
{% for i in range(rows // lanes) %}
let row_{{ i }} = min(row0 + {{ i * lanes }}u + thread, last_row);
let at{{ i }} = (row_{{ i }} * {{ input_stride }} + {{ input_offset }}) / 4u;
{% endfor %}
{% if keeps_scales %}
{% for j in range(8) %}
var scale{{ j }} = Scale();
{% endfor %}
{% endif %}
for (var turn = 0u; turn < {{ inner }} / 8u; turn++) {
    {% if keeps_scales %}
    if turn % {{ of_scale }}u == 0u {
        {% for j in range(8) %}
        scale{{ j }} = load_scale(col0 + {{ j }}u, turn);
        {% endfor %}
    }
    {% elif team %}
    {% for j in range(8 // team) %}
    let mine{{ j }} = load_scale(turn * 8u + thread % {{ team }}u * {{ 8 // team }}u + {{ j }}u, col8);
    {% endfor %}
    {% endif %}
    {% for j in range(8) %}
    {% if team == 8 %}
    let eight{{ j }} = load_scaled(turn * 8u + {{ j }}u, col8, subgroupBroadcast(mine0, {{ j }}u));
    {% elif team %}
    let scale{{ j }} = subgroupShuffle(mine{{ j % (8 // team) }}, thread / {{ team }}u * {{ team }}u + {{ j // (8 // team) }}u);
    let eight{{ j }} = load_scaled(turn * 8u + {{ j }}u, col8, scale{{ j }});
    {% elif is_transposed %}
    let eight{{ j }} = load_weight(turn * 8u + {{ j }}u, col8);
    {% else %}
    let eight{{ j }} = {{ "load_scaled(col0 + %du, turn, scale%d)" | format(j, j) if keeps_scales else "load_weight(col0 + %du, turn)" | format(j) }};
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
