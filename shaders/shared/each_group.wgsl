{# A kernel that treats items one by one: its body is what a workgroup of 64 does with the item that has the number `index`,
   of `count` in all. #}
{% macro each_group(count) %}
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    // Uniform in a group: the whole workgroup leaves.
    if (index >= {{ count }}) {
        return;
    }
    {{ caller() }}
}
{% endmacro %}
