{# How a row's values are multiplied with eight columns and added to its results, the vec4 `a` and `b`. #}
{# In tiles without subgroups by one multiply-add each for four values of the inner dimension, the Eights w0 to w3
   over the eight columns: a sum of four products that is added as a whole would take a fifth operation. #}
{% macro add_rows(a, b, quad) %}
{
    let p = {{ quad }};
    {% for c in ["x", "y", "z", "w"] %}
    {{ a }} += p.{{ c }} * w{{ loop.index0 }}.a;
    {{ b }} += p.{{ c }} * w{{ loop.index0 }}.b;
    {% endfor %}
}
{% endmacro %}
{# Where a subgroup shares its rows, by dot products with some quads of each column, named in `columns`: on CPU
   adapters adding to a result costs as much as a product, and sums of scalars need few registers. #}
{% macro add_dots(a, b, quads, columns) %}
{
    {% for quad in quads %}
    let p{{ loop.index0 }} = {{ quad }};
    {% endfor %}
    {% for result, first in [(a, 0), (b, 4)] %}
    {{ result }} += vec4<f32>(
        {% for j in range(first, first + 4) %}
        {% for name in columns %}{{ " + " if not loop.first }}dot(p{{ loop.index0 }}, {{ name }}{{ j }}){% endfor %},
        {% endfor %}
    );
    {% endfor %}
}
{% endmacro %}
{# The Eights w0 to w3 for `add_rows` from the quads of eight columns. #}
{% macro rows_of(quad) %}
{% for c in ["x", "y", "z", "w"] %}
let w{{ loop.index0 }} = Eight(
    vec4<f32>({{ quad }}0.{{ c }}, {{ quad }}1.{{ c }}, {{ quad }}2.{{ c }}, {{ quad }}3.{{ c }}),
    vec4<f32>({{ quad }}4.{{ c }}, {{ quad }}5.{{ c }}, {{ quad }}6.{{ c }}, {{ quad }}7.{{ c }}),
);
{% endfor %}
{% endmacro %}
{# The quads of eight columns for `add_dots` from four Eights, numbered from `first`. #}
{% macro columns_of(eight, first, quad) %}
{% for place in ["a.x", "a.y", "a.z", "a.w", "b.x", "b.y", "b.z", "b.w"] %}
let {{ quad }}{{ loop.index0 }} = vec4<f32>(
    {{ eight }}{{ first }}.{{ place }}, {{ eight }}{{ first + 1 }}.{{ place }},
    {{ eight }}{{ first + 2 }}.{{ place }}, {{ eight }}{{ first + 3 }}.{{ place }},
);
{% endfor %}
{% endmacro %}
