//! variant along: u v
// G += scale·Uᵀ·V: what lora_grad_outer does, with the same tensors, on GPUs.
//
// A workgroup owns 8 columns of the narrow operand and 16 of the wide one, `along` which invocations lie:
// four of them have a quad of it each, and 16 share the sum over M, every 16th row each. A factor's
// gradient has few results and long sums, so without these slices most of a GPU would idle. All
// arithmetic is f32.
{% set results = 32 %}
{% include "shared/lora_grad_params.wgsl" %}
{% include "shared/slices.wgsl" %}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = group.x + group.y * groups.x;
    let quad = thread % 4u;
    let slice = thread / 4u;
    {% if along == "u" %}
    let blocks = params.width / 8u;
    let tile = vec2<u32>(index / blocks * 16u, index % blocks * 8u);
    let a = min(tile.x + quad * 4u, params.height - 4u);
    let b = tile.y;
    {% else %}
    let blocks = (params.width + 15u) / 16u;
    let tile = vec2<u32>(index / blocks * 8u, index % blocks * 16u);
    let a = min(tile.x, params.height - 8u);
    let b = min(tile.y + quad * 4u, params.width - 4u);
    {% endif %}
    {% for i in range(8) %}
    var c{{ i }} = vec4<f32>();
    {% endfor %}
    {
        {% set column = "a" %}
        {% include "shared/section.wgsl" %}
        let u_stride = params.u_stride / 4u;
        let v_stride = params.v_stride / 4u;
        let u_base = (params.u_offset + a) / 4u;
        let v_base = (params.v_offset[section] + b) / 4u;
        let rows = select(params.rows, 0u, params.v_offset[section] == NONE);
        for (var m = slice; m < rows; m += SLICES) {
            let ua = u[u_base + m * u_stride];
            let va = v[v_base + m * v_stride];
            {% if along == "u" %}
            let vb = v[v_base + m * v_stride + 1u];
            {% for lane in ["ua.x", "ua.y", "ua.z", "ua.w"] %}
            c{{ 2 * loop.index0 }} += {{ lane }} * va;
            c{{ 2 * loop.index0 + 1 }} += {{ lane }} * vb;
            {% endfor %}
            {% else %}
            let ub = u[u_base + m * u_stride + 1u];
            {% for lane in ["ua.x", "ua.y", "ua.z", "ua.w", "ub.x", "ub.y", "ub.z", "ub.w"] %}
            c{{ loop.index0 }} += {{ lane }} * va;
            {% endfor %}
            {% endif %}
        }
    }
    {% for i in range(8) %}
    keep_part({{ 4 * i }}u + quad, slice, c{{ i }});
    {% endfor %}
    workgroupBarrier();
    // One result quad each: part `thread / 4` of what quad `thread % 4` has.
    {% if along == "u" %}
    let row = tile.x + thread % 4u * 4u + thread / 8u;
    let col = tile.y + thread / 4u % 2u * 4u;
    {% else %}
    let row = tile.x + thread / 4u;
    let col = tile.y + thread % 4u * 4u;
    {% endif %}
    if thread >= 32u || row >= params.height || col >= params.width { return; }
    {% set column = "row" %}
    {% include "shared/section.wgsl" %}
    if params.v_offset[section] == NONE { return; }
    let place = (params.g_base[section] + (row - section_start) * params.width + col) / 4u;
    gradient[place] += params.scale * sum_of_parts(thread);
}
