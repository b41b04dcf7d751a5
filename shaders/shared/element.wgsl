// The kernels that treat elements one by one: an invocation owns the vec4 with this index.
fn element(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return (group.x + group.y * groups.x) * 256u + lane;
}
