{# Columns that no head owns are written as zero, by the workgroups of the last head: `count` vec4 from `place` on, by
   `lanes` invocations. #}
{% macro clear(tensor, place, count, lanes) %}
for (var column = lane; column < {{ count }}; column += {{ lanes }}u) {
    {{ tensor }}[{{ place }} + column] = vec4<f32>();
}
{% endmacro %}
{# What lies between the key heads and the value heads of a row, and behind these. #}
{% macro pads_of_keys_and_values() %}
let k_end = params.k_offset / 4u + params.kv_heads * width;
let v_end = params.v_offset / 4u + params.kv_heads * width;
let owns_pad = kv_head == params.kv_heads - 1u;
let k_pad = select(0u, params.v_offset / 4u - k_end, owns_pad);
let v_pad = select(0u, step - v_end, owns_pad);
{% endmacro %}
