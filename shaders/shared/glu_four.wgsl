// Four values of gate_up from column `at` on.
fn four(at: u32) -> vec4<f32> {
{% if lies == "aligned" %}
    return gate_up[at / 4u];
{% else %}
    return vec4(gate_up[at], gate_up[at + 1u], gate_up[at + 2u], gate_up[at + 3u]);
{% endif %}
}
