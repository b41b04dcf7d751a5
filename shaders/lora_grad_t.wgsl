// dT = scale · dY·B, for each of the layers stacked in one linear: the gradient of T = X·Aᵀ.
//
// dY [M, y_stride]; B [N_s, R] of each stacked layer at its base; dT [M, t_stride], the columns of a
// layer from its t_offset. A thread owns 8 rows × 4 columns of one layer and sums over its N_s.
{% include "shared/linear_params.wgsl" %}

@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lora_b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dt: array<vec4<f32>>;

@compute @workgroup_size(16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let rank4 = params.rank / 4u;
    let index = group.x * 16u + thread;
    let row0 = index / rank4 * 8u;
    let r = index % rank4;
    let section = group.z;
    if row0 >= params.rows || params.t_offset[section] == NONE { return; }

    var first = 0u;
    if section > 0u { first = params.section_end[section - 1u]; }
    let b_base = params.b_base[section] / 4u;
    {% for i in range(8) %}
    let y{{ i }} = (min(row0 + {{ i }}u, params.rows - 1u) * params.y_stride + params.y_offset) / 4u;
    var c{{ i }} = vec4<f32>();
    {% endfor %}
    for (var n = first; n < params.section_end[section]; n += 4u) {
        let b = b_base + (n - first) * rank4 + r;
        let b0 = lora_b[b];
        let b1 = lora_b[b + rank4];
        let b2 = lora_b[b + 2u * rank4];
        let b3 = lora_b[b + 3u * rank4];
        {% for i in range(8) %}
        {
            let g = dy[y{{ i }} + n / 4u];
            c{{ i }} += g.x * b0 + g.y * b1 + g.z * b2 + g.w * b3;
        }
        {% endfor %}
    }
    {% for i in range(8) %}
    if row0 + {{ i }}u < params.rows {
        dt[((row0 + {{ i }}u) * params.t_stride + params.t_offset[section]) / 4u + r] = params.scale * c{{ i }};
    }
    {% endfor %}
}
