// dT = scale · dY·B: what lora_grad_t does, with the same tensors, on GPUs.
//
// A workgroup owns 8 rows × 8 columns of one layer's dT; each of its four blocks of 4 × 4 is summed by 16
// invocations, which take every 16th quad of the layer's N_s. All arithmetic is f32.
{% set results = 16 %}
{% include "shared/linear/params.wgsl" %}
{% include "shared/slices.wgsl" %}

@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lora_b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dt: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let section = group.z;
    if params.t_offset[section] == NONE { return; }
    let blocks = params.rank / 8u;
    let index = group.x + group.y * groups.x;
    let tile = vec2<u32>(index / blocks * 8u, index % blocks * 2u);
    let slice = thread % SLICES;
    let block = thread / SLICES;
    let row0 = tile.x + block / 2u * 4u;

    var first = 0u;
    if section > 0u { first = params.section_end[section - 1u]; }
    let quads = (params.section_end[section] - first) / 4u;
    let rank4 = params.rank / 4u;
    let b_base = params.b_base[section] / 4u + tile.y + block % 2u;
    {% for i in range(4) %}
    let y{{ i }} = (min(row0 + {{ i }}u, params.rows - 1u) * params.y_stride + params.y_offset + first) / 4u;
    var c{{ i }} = vec4<f32>();
    {% endfor %}
    for (var n4 = slice; n4 < quads; n4 += SLICES) {
        {% for j in range(4) %}
        let b{{ j }} = lora_b[b_base + (n4 * 4u + {{ j }}u) * rank4];
        {% endfor %}
        {% for i in range(4) %}
        {
            let g = dy[y{{ i }} + n4];
            c{{ i }} += g.x * b0 + g.y * b1 + g.z * b2 + g.w * b3;
        }
        {% endfor %}
    }
    {% for i in range(4) %}
    keep_part(block * 4u + {{ i }}u, slice, c{{ i }});
    {% endfor %}
    workgroupBarrier();
    // One result quad each: row `thread % 4` of block `thread / 4`.
    let row = tile.x + thread / 8u * 4u + thread % 4u;
    if thread < 16u && row < params.rows {
        let place = (row * params.t_stride + params.t_offset[section]) / 4u + tile.y + thread / 4u % 2u;
        dt[place] = params.scale * sum_of_parts(thread);
    }
}
