// A turn's products of the subgroup's rows with an invocation's eight columns: the quads w0 to w7 of the turn's
// first four values, v0 to v7 of the next four. The including shader sets `rows`, `lanes`, `last` and `in_memory`,
// `input` to the bound activations, `place` to what the names of the rows' places in them begin with, and `turn` to
// the number of the turn.
{% from "shared/shared_rows.wgsl" import shared_row %}
{% from "shared/products.wgsl" import add_dots %}
{% for first in range(0, rows, lanes) %}
{
    let h = {{ input }}[{{ place }}{{ first // lanes }} + {{ turn }} * 2u];
    let e = {{ input }}[{{ place }}{{ first // lanes }} + {{ turn }} * 2u + 1u];
    {% for i in range(first, first + lanes) %}
    {% set a = "c[%d][%d]" | format(i // last, i % last * 2) if in_memory else "c%da" | format(i) %}
    {% set b = "c[%d][%d]" | format(i // last, i % last * 2 + 1) if in_memory else "c%db" | format(i) %}
    {{ add_dots(a, b, [shared_row("h", i, lanes), shared_row("e", i, lanes)], ["w", "v"]) }}
    {% endfor %}
}
{% endfor %}
