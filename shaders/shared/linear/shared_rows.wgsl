{# How the `lanes` invocations of a subgroup share rows that each has loaded one of: `shared_row` is what the `i`th
   row of a block's registers was multiplied from, given the `value` that an invocation loaded, and `shared_number`
   which row of the block that is to invocation `thread`; without lanes it is row `i` itself.

   Four invocations exchange theirs in quads, so that each goes through four rows in an order of its own: on
   SwiftShader that is one instruction for a component, where a broadcast takes seven. #}
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
