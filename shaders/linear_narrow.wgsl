//! variant tile: subgroup4 subgroup8
//! native: subgroup8
// Y = scale · X·Wᵀ for few columns, such as T = X·Aᵀ: what linear_forward does, for an f32 W.
//
// X [M, K] rows of x_stride from x_offset; W [N, K]; Y [M, N] rows of y_stride from y_offset. A
// workgroup is one subgroup. Its invocations own 4 rows × 8 columns each, every one other rows of the
// same columns, and share the columns' weights by broadcast: so all of them work where N is 8.
{% set lanes = 4 if tile == "subgroup4" else 8 %}
{% include "shared/linear/params.wgsl" %}

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size({{ lanes }})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = group.x + group.y * groups.x;
    let col_blocks = params.cols / 8u;
    let row0 = (index / col_blocks * {{ lanes }}u + thread) * 4u;
    let col0 = index % col_blocks * 8u;
    let depth4 = params.depth / 4u;
    {% for i in range(4) %}
    let x{{ i }} = (min(row0 + {{ i }}u, params.rows - 1u) * params.x_stride + params.x_offset) / 4u;
    var c{{ i }}a = vec4<f32>();
    var c{{ i }}b = vec4<f32>();
    {% endfor %}
    for (var k4 = 0u; k4 < depth4; k4++) {
        {% for j in range(8 // lanes) %}
        let h{{ j }} = w[(col0 + {{ j * lanes }}u + thread) * depth4 + k4];
        {% endfor %}
        {% for j in range(8) %}
        let w{{ j }} = subgroupBroadcast(h{{ j // lanes }}, {{ j % lanes }}u);
        {% endfor %}
        {% for i in range(4) %}
        {
            let p = x[x{{ i }} + k4];
            c{{ i }}a += vec4<f32>(dot(p, w0), dot(p, w1), dot(p, w2), dot(p, w3));
            c{{ i }}b += vec4<f32>(dot(p, w4), dot(p, w5), dot(p, w6), dot(p, w7));
        }
        {% endfor %}
    }
    {% for i in range(4) %}
    if row0 + {{ i }}u < params.rows {
        let place = ((row0 + {{ i }}u) * params.y_stride + params.y_offset + col0) / 4u;
        y[place] = params.scale * c{{ i }}a;
        y[place + 1u] = params.scale * c{{ i }}b;
    }
    {% endfor %}
}
