// Sums over the `SLICES` invocations that each have a part of the same results, in a fixed order. The
// including shader sets `results`, the vec4 of them in a workgroup, and puts a barrier between the two.
const SLICES = 16u;
// A place more than there are slices, so that neighbours read from different banks.
const STRIDE = 17u;

var<workgroup> parts: array<vec4<f32>, {{ results }} * STRIDE>;

fn keep_part(result: u32, slice: u32, part: vec4<f32>) {
    parts[result * STRIDE + slice] = part;
}

fn sum_of_parts(result: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var slice = 0u; slice < SLICES; slice++) {
        sum += parts[result * STRIDE + slice];
    }
    return sum;
}
