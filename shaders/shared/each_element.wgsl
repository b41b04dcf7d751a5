{# A kernel that treats elements one by one: its body is what an invocation does with the vec4 that has the number
   `index`, of `count` in all. #}
{% macro each_element(count) %}
fn element(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return (group.x + group.y * groups.x) * 256u + lane;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = element(group, groups, lane);
    if (index >= {{ count }}) {
        return;
    }
    {{ caller() }}
}
{% endmacro %}
