{# A kernel that adds up columns: its body is the vec4 that `row`, of `rows` in all, has for the column quad `quad`, of
   `quads`. A workgroup of 64 owns four quads, for each of which 16 invocations have every 16th row; their sums come
   together in a fixed order. #}
{% macro each_column(rows, quads, out) %}
{% set results = 4 %}
{% include "shared/slices.wgsl" %}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let quad = (group.x + group.y * groups.x) * 4u + thread % 4u;
    var sum = vec4<f32>();
    if (quad < {{ quads }}) {
        for (var row = thread / 4u; row < {{ rows }}; row += SLICES) {
            {{ caller() }}
        }
    }
    keep_part(thread % 4u, thread / 4u, sum);
    workgroupBarrier();
    if (thread < 4u && quad < {{ quads }}) {
        {{ out }}[quad] += sum_of_parts(thread);
    }
}
{% endmacro %}
