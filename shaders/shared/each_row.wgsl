{# A kernel that treats rows one by one. Its body is what an invocation of the team does that owns `row`, whose `quads`
   vec4 lie from `start` on: in the variant "group" that is a workgroup of `size`, and the invocation its `lane`th; in
   "alone", which CPU adapters do best, it is the one with `lane` 0. #}
{% macro each_row(size) %}
@compute @workgroup_size({{ size if team == "group" else 8 }})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    {% if team == "group" %}
    let row = group.x + group.y * groups.x;
    let lane = invocation;
    {% else %}
    let row = (group.x + group.y * groups.x) * 8u + invocation;
    let lane = 0u;
    {% endif %}
    // Uniform in a group: the whole workgroup leaves.
    if (row >= params.rows) {
        return;
    }
    let quads = params.stride / 4u;
    let start = row * quads;
    {{ caller() }}
}
{% endmacro %}
