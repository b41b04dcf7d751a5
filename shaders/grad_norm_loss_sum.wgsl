// accumulator[0] += sum_{i < n} row_loss[i]
//
// row_loss f32; accumulator [1] f32, cleared at the start of a step. One workgroup of 64 does it all,
// so the order is fixed and micro-batches add up one after another.
{{ params("grad_norm::LossSumParams") }}
@group(0) @binding(1) var<storage, read> row_loss: array<f32>;
@group(0) @binding(2) var<storage, read_write> accumulator: array<f32>;

{% include "shared/sum_64.wgsl" %}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < params.n; i += 64u) {
        sum += row_loss[i];
    }
    let total = sum_64(sum, lane);
    if (lane == 0u) {
        accumulator[0] += total;
    }
}
