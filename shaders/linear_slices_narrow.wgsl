// Y = scale · X·Wᵀ for few columns, such as T = X·Aᵀ: what linear_forward does on GPUs, for an f32 W.
//
// X [M, K] rows of x_stride from x_offset; W [N, K]; Y [M, N] rows of y_stride from y_offset. A tile of
// linear_forward would be mostly empty, and few workgroups would walk along all of K one after another.
// Here a workgroup owns 8 × 8 results; each of its four blocks of 4 × 4 is summed by 16 invocations,
// which take every 16th quad of K and so read neighbours. All arithmetic is f32.
{% set results = 16 %}
{% include "shared/linear/params.wgsl" %}
{% include "shared/slices.wgsl" %}

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = group.x + group.y * groups.x;
    let col_blocks = params.cols / 8u;
    let tile = vec2<u32>(index / col_blocks * 8u, index % col_blocks * 8u);
    let slice = thread % SLICES;
    let block = thread / SLICES;
    let row0 = tile.x + block / 2u * 4u;
    let col0 = tile.y + block % 2u * 4u;
    let depth4 = params.depth / 4u;
    {% for i in range(4) %}
    let x{{ i }} = (min(row0 + {{ i }}u, params.rows - 1u) * params.x_stride + params.x_offset) / 4u;
    var c{{ i }} = vec4<f32>();
    {% endfor %}
    for (var k4 = slice; k4 < depth4; k4 += SLICES) {
        {% for j in range(4) %}
        let w{{ j }} = w[(col0 + {{ j }}u) * depth4 + k4];
        {% endfor %}
        {% for i in range(4) %}
        {
            let p = x[x{{ i }} + k4];
            c{{ i }} += vec4<f32>(dot(p, w0), dot(p, w1), dot(p, w2), dot(p, w3));
        }
        {% endfor %}
    }
    {% for i in range(4) %}
    keep_part(block * 4u + {{ i }}u, slice, c{{ i }});
    {% endfor %}
    workgroupBarrier();
    // One result quad each: row `thread % 4` of block `thread / 4`.
    let row = tile.x + thread / 8u * 4u + thread % 4u;
    let col = tile.y + thread / 4u % 2u * 4u;
    if thread < 16u && row < params.rows {
        y[(row * params.y_stride + params.y_offset + col) / 4u] = params.scale * sum_of_parts(thread);
    }
}
