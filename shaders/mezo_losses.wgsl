// sums[sample] += (sum of weight * plus, sum of weight * minus, sum of weight * (plus - minus), 0) over n rows
//
// weight, plus, minus [n] f32; sums [samples] vec4, cleared at the start of a step. Differences are taken row by row,
// because what two sums differ in would be cancelled. One workgroup of 64, so the order is fixed.
{{ params("mezo::LossesParams") }}
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> plus: array<f32>;
@group(0) @binding(3) var<storage, read> minus: array<f32>;
@group(0) @binding(4) var<storage, read_write> sums: array<vec4<f32>>;

var<workgroup> of_lane: array<vec4<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = vec4<f32>(0.0);
    for (var i = lane; i < params.n; i += 64u) {
        sum += weight[i] * vec4<f32>(plus[i], minus[i], plus[i] - minus[i], 0.0);
    }
    of_lane[lane] = sum;
    workgroupBarrier();
    if (lane == 0u) {
        for (var i = 1u; i < 64u; i++) {
            sum += of_lane[i];
        }
        sums[params.sample] += sum;
    }
}
