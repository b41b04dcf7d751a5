//! variant weight: nf4 nf4_any f32 f16 bf16
// y = scale · W·x + B·t + residual for few rows of X: what linear_forward does, when decoding.
//
// Shapes and layouts are linear_forward's. A workgroup owns 8 columns of one row of X: 8 threads a
// column share K, each taking every eighth run of eight values, and add up in a fixed order. The
// work is bound by the bytes of W, each read once for each row of X.
{% include "shared/linear_params.wgsl" %}
{% set decode = "tree" %}
{% include "shared/weight.wgsl" %}

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> t: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> lora_b: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> residual: array<f32>;
@group(0) @binding(7) var<storage, read_write> y: array<f32>;

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let group_index = group.x + group.y * groups.x;
    let col_blocks = params.cols / 8u;
    let row = min(group_index / col_blocks, params.rows - 1u);
    let col = group_index % col_blocks * 8u + thread / 8u;
    let lane = thread % 8u;

    let x_base = (row * params.x_stride + params.x_offset) / 4u;
    var sum = 0.0;
    for (var k8 = lane; k8 < params.depth / 8u; k8 += 8u) {
        let w = load_weight(col, k8);
        sum += dot(x[x_base + k8 * 2u], w.a) + dot(x[x_base + k8 * 2u + 1u], w.b);
    }
    sum *= params.scale;

    if params.rank > 0u {
        {% set column = "col" %}
        {% include "shared/section.wgsl" %}
        let t_offset = params.t_offset[section];
        if t_offset != NONE {
            let rank4 = params.rank / 4u;
            let b_base = params.b_base[section] / 4u + (col - section_start) * rank4;
            for (var r = lane; r < rank4; r += 8u) {
                sum += dot(t[(row * params.t_stride + t_offset) / 4u + r], lora_b[b_base + r]);
            }
        }
    }
    partial[thread] = sum;
    workgroupBarrier();
    if lane == 0u && group_index < params.rows * col_blocks {
        let place = row * params.y_stride + params.y_offset + col;
        var total = 0.0;
        {% for i in range(8) %}
        total += partial[thread + {{ i }}u];
        {% endfor %}
        if params.add_residual != 0u {
            total += residual[place];
        }
        y[place] = total;
    }
}
