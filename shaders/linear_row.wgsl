//! variant weight: nf4 nf4_any f32 f16 bf16 fp4 fp4_any int8 q8_0 q4_0 q4_1 q5_0 q5_1 q4_k q5_k q6_k
// y = scale · W·x + B·t + residual for few rows of X: what linear_forward does, when decoding.
//
// Shapes and layouts are linear_forward's. A workgroup owns 16 columns of one row of X: 16 invocations
// share the K of four columns, each taking every 16th run of eight values, so that what it reads of X
// serves four times, and they add up in a fixed order. The work is bound by the bytes of W, each read
// once for each row of X, if decoding keeps up: NF4 takes one look into a table for a value, where a
// tree of selects takes some twenty operations.
{% set decode = "memory" %}
{% set results = 4 %}
{% include "shared/linear/params.wgsl" %}
{% include "shared/weight.wgsl" %}
{% include "shared/slices.wgsl" %}
{% set input, t, factor, output = "x", "t", "lora_b", "y" %}
{% include "shared/linear/bindings.wgsl" %}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = group.x + group.y * groups.x;
    let tiles = (params.cols + 15u) / 16u;
    let row = min(index / tiles, params.rows - 1u);
    let four = thread / SLICES;
    let slice = thread % SLICES;
    // Those past the last column compute it again, and write nothing.
    let col = min(index % tiles * 16u + four * 4u, params.cols - 4u);
    {% if weight in ["nf4", "nf4_any", "fp4", "fp4_any"] %}
    fill_code_table(thread, 64u);
    workgroupBarrier();
    {% endif %}

    let x_base = (row * params.x_stride + params.x_offset) / 4u;
    var sum = vec4<f32>();
    for (var k8 = slice; k8 < params.depth / 8u; k8 += SLICES) {
        let p = x[x_base + k8 * 2u];
        let q = x[x_base + k8 * 2u + 1u];
        {% for j in range(4) %}
        {
            {% if weight in ["nf4", "fp4"] %}
            let w = load_codes(col + {{ j }}u, k8);
            let scale = scales[(col + {{ j }}u) * (params.depth / 64u) + k8 / 8u];
            sum[{{ j }}] += scale * (dot(p, w.a) + dot(q, w.b));
            {% else %}
            let w = load_weight(col + {{ j }}u, k8);
            sum[{{ j }}] += dot(p, w.a) + dot(q, w.b);
            {% endif %}
        }
        {% endfor %}
    }
    sum *= params.scale;

    if params.rank > 0u {
        {% set column = "col" %}
        {% include "shared/section.wgsl" %}
        let t_offset = params.t_offset[section];
        if t_offset != NONE {
            let rank4 = params.rank / 4u;
            let b_base = params.b_base[section] / 4u + (col - section_start) * rank4;
            for (var r = slice; r < rank4; r += SLICES) {
                let p = t[(row * params.t_stride + t_offset) / 4u + r];
                {% for j in range(4) %}
                sum[{{ j }}] += dot(p, lora_b[b_base + {{ j }}u * rank4 + r]);
                {% endfor %}
            }
        }
    }
    keep_part(four, slice, sum);
    workgroupBarrier();
    let own_col = index % tiles * 16u + thread * 4u;
    if thread < 4u && own_col < params.cols && index < params.rows * tiles {
        let place = (row * params.y_stride + params.y_offset + own_col) / 4u;
        var total = sum_of_parts(thread);
        if params.add_residual != 0u {
            total += residual[place];
        }
        y[place] = total;
    }
}
