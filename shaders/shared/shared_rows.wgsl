// How the `lanes` invocations of a subgroup share rows that each has loaded one of: the `i`th use of a
// group takes `shared_row`, which is row `shared_number` of the group.
//
// Four invocations exchange theirs in quads, so that each goes through the group in an order of its
// own: on SwiftShader that is one instruction for a component, where a broadcast takes seven.
{% macro shared_row(value, i, lanes) -%}
{% if lanes == 4 -%}
{{ value if i % 4 == 0 else "%s(%s)" | format(["", "quadSwapX", "quadSwapY", "quadSwapDiagonal"][i % 4], value) }}
{%- else -%}
subgroupBroadcast({{ value }}, {{ i % lanes }}u)
{%- endif %}
{%- endmacro %}
{% macro shared_number(i, lanes) -%}
{% if lanes == 4 -%}
({{ i - i % 4 }}u + (thread ^ {{ i % 4 }}u))
{%- else -%}
{{ i }}u
{%- endif %}
{%- endmacro %}
