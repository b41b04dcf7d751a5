// What follows the product of any tile: its scale, the LoRA panel, the residual and the store, for rows from `first`
// on. Includes the file named `panel`, which adds to the registers of `last` rows.
{% from "shared/linear/shared_rows.wgsl" import shared_number %}
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
{% include panel %}

let last_place = last_row * {{ output_stride }};
if params.add_residual != 0u {
    {% for i in range(last) %}
    let r{{ i }} = (min((first + {{ shared_number(i * step, lanes) }}) * {{ output_stride }}, last_place) + {{ output_offset }} + col0) / 4u;
    c{{ i }}a += residual[r{{ i }}];
    c{{ i }}b += residual[r{{ i }} + 1u];
    {% endfor %}
}
{% for i in range(last) %}
if first + {{ shared_number(i * step, lanes) }} < params.rows && block.y == col0 {
    let place = ((first + {{ shared_number(i * step, lanes) }}) * {{ output_stride }} + {{ output_offset }} + col0) / 4u;
    {{ output }}[place] = c{{ i }}a;
    {{ output }}[place + 1u] = c{{ i }}b;
}
{% endfor %}
{% if in_memory %}
}
{% endif %}
