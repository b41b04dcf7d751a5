// A block's product straight from storage, four values of the inner dimension a turn.
{% from "shared/linear/products.wgsl" import add_rows, rows_of %}
if row0 >= params.rows { return; }
{% for i in range(rows) %}
let at{{ i }} = (min(row0 + {{ i }}u, last_row) * {{ input_stride }} + {{ input_offset }}) / 4u;
{% endfor %}
for (var turn = 0u; turn < {{ inner }} / 4u; turn++) {
    {% if is_transposed %}
    {% for j in range(4) %}
    let w{{ j }} = load_weight(turn * 4u + {{ j }}u, col8);
    {% endfor %}
    {% else %}
    {% for j in range(8) %}
    let quad{{ j }} = load_quad(col0 + {{ j }}u, turn);
    {% endfor %}
    {{ rows_of("quad") }}
    {% endif %}
    {% for i in range(rows) %}
    {{ add_rows("c%da" | format(i), "c%db" | format(i), "%s[at%d + turn]" | format(input, i)) }}
    {% endfor %}
}
