//! variant tile: direct subgroup4 subgroup8
//! native: subgroup8
// dT = scale · dY·B, for each of the layers stacked in one linear: the gradient of T = X·Aᵀ.
//
// dY [M, y_stride]; B [N_s, R] of each stacked layer at its base; dT [M, t_stride], the columns of a
// layer from its t_offset. An invocation owns `rows` rows × 8 columns of one layer and sums over its
// N_s. In the subgroup variants the invocations of a workgroup, one subgroup, own other rows of the
// same columns and share B by broadcast.
{% set lanes = 4 if tile == "subgroup4" else 8 if tile == "subgroup8" else 0 %}
{% set rows = 4 if lanes else 8 %}
{% set size = lanes if lanes else 16 %}
{% include "shared/linear/params.wgsl" %}

@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lora_b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dt: array<vec4<f32>>;

@compute @workgroup_size({{ size }})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let blocks = params.rank / 8u;
    let workgroup = group.x + group.y * groups.x;
    {% if lanes %}
    let row0 = (workgroup / blocks * {{ lanes }}u + thread) * {{ rows }}u;
    let r8 = workgroup % blocks;
    {% else %}
    let index = workgroup * {{ size }}u + thread;
    let row0 = index / blocks * {{ rows }}u;
    let r8 = index % blocks;
    if row0 >= params.rows { return; }
    {% endif %}
    let section = group.z;
    if params.t_offset[section] == NONE { return; }

    var first = 0u;
    if section > 0u { first = params.section_end[section - 1u]; }
    let rank4 = params.rank / 4u;
    let b_base = params.b_base[section] / 4u + r8 * 2u;
    {% for i in range(rows) %}
    let y{{ i }} = (min(row0 + {{ i }}u, params.rows - 1u) * params.y_stride + params.y_offset) / 4u;
    var c{{ i }}a = vec4<f32>();
    var c{{ i }}b = vec4<f32>();
    {% endfor %}
    for (var n = first; n < params.section_end[section]; n += 4u) {
        let b = b_base + (n - first) * rank4;
        {% if lanes %}
        // Quad q of the eight is half q % 2 of row q / 2.
        {% for j in range(8 // lanes) %}
        let h{{ j }} = lora_b[b + ({{ j * lanes }}u + thread) / 2u * rank4 + ({{ j * lanes }}u + thread) % 2u];
        {% endfor %}
        {% for q in range(8) %}
        let b{{ q // 2 }}{{ "ab"[q % 2] }} = subgroupBroadcast(h{{ q // lanes }}, {{ q % lanes }}u);
        {% endfor %}
        {% else %}
        {% for j in range(4) %}
        let b{{ j }}a = lora_b[b + {{ j }}u * rank4];
        let b{{ j }}b = lora_b[b + {{ j }}u * rank4 + 1u];
        {% endfor %}
        {% endif %}
        {% for i in range(rows) %}
        {
            let g = dy[y{{ i }} + n / 4u];
            c{{ i }}a += g.x * b0a + g.y * b1a + g.z * b2a + g.w * b3a;
            c{{ i }}b += g.x * b0b + g.y * b1b + g.z * b2b + g.w * b3b;
        }
        {% endfor %}
    }
    {% for i in range(rows) %}
    if row0 + {{ i }}u < params.rows {
        let place = ((row0 + {{ i }}u) * params.t_stride + params.t_offset[section]) / 4u + r8 * 2u;
        dt[place] = params.scale * c{{ i }}a;
        dt[place + 1u] = params.scale * c{{ i }}b;
    }
    {% endfor %}
}
