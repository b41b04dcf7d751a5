// partials[first + b] = sum of grad[i]^2 over block b, 8192 elements of grad
//
// grad [n] f32, n a multiple of 4; partials f32, one for each block, from `first` on, so that a
// gradient in several buffers fills one array of partial sums. The first of two stages; the second
// is grad_norm_finish.
//
// A workgroup of 64 owns a block: 32 vec4 an invocation, then a fixed-order f32 sum. A square
// overflows to infinity where |grad| passes 1.8e19, and the norm is then reported as not finite.
{{ params("grad_norm::SquaresParams") }}
@group(0) @binding(1) var<storage, read> grad: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> partials: array<f32>;

{% include "shared/sum_64.wgsl" %}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = group.x + group.y * groups.x;
    let start = block * 2048u;
    let end = min(start + 2048u, params.n / 4u);
    var squares = vec4<f32>(0.0);
    for (var quad = start + lane; quad < end; quad += 64u) {
        let g = grad[quad];
        squares += g * g;
    }
    let sum = sum_64((squares.x + squares.y) + (squares.z + squares.w), lane);
    // Blocks past the end exist only where the grid was folded into two dimensions.
    if (lane == 0u && start < params.n / 4u) {
        partials[params.first + block] = sum;
    }
}
