// Sums over the `SLICES` invocations that each have a part of the same results, in a fixed order. The
// including shader sets `groups`, the vec4 of results in a workgroup, and puts a barrier between the two.
const SLICES = 16u;

// A slice more than there are, so that neighbours write to different banks.
var<workgroup> parts: array<vec4<f32>, {{ 17 * groups }}>;

fn keep_part(group: u32, slice: u32, part: vec4<f32>) {
    parts[group * 17u + slice] = part;
}

fn sum_of_parts(group: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var slice = 0u; slice < SLICES; slice++) {
        sum += parts[group * 17u + slice];
    }
    return sum;
}
