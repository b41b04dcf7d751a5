// sum_64(value, lane): the sum of `value` over the 64 invocations of a workgroup, known to all of them.
//
// One barrier: every invocation then adds the 64 summands itself, always in the same order. That is
// cheaper than a tree on adapters that compute on the CPU, where each barrier suspends every lane,
// and no slower on GPUs, where equal addresses are read once. Before a second call a kernel needs a barrier.
var<workgroup> summands: array<f32, 64>;

fn sum_64(value: f32, lane: u32) -> f32 {
    summands[lane] = value;
    workgroupBarrier();
    var sums = vec4<f32>(0.0);
{% for i in range(0, 64, 4) %}
    sums += vec4<f32>(summands[{{ i }}], summands[{{ i + 1 }}], summands[{{ i + 2 }}], summands[{{ i + 3 }}]);
{% endfor %}
    return (sums.x + sums.y) + (sums.z + sums.w);
}
