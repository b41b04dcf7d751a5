// For each sequence s of the micro-batch, over its scored tokens i:
//     logps[s] = - sum of losses[i] over answer <= i < end
//     nlls[s]  =   sum of losses[i] over start <= i < end
//
// losses f32 are -log p of each scored token. A workgroup of 64 owns a sequence. Each invocation takes every 64th token from
// `answer` on, and of the prompt's from `start` on, so the order of the sums is that of the sequence, wherever it lies.
{{ params("preference::SumsParams") }}
{{ host_struct("preference::Sequence") }}
@group(0) @binding(1) var<storage, read> sequences: array<Sequence>;
@group(0) @binding(2) var<storage, read> losses: array<f32>;
@group(0) @binding(3) var<storage, read_write> logps: array<f32>;
@group(0) @binding(4) var<storage, read_write> nlls: array<f32>;

var<workgroup> of_lane: array<vec2<f32>, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    let is_there = index < params.sequences;
    let own = sequences[min(index, params.sequences - 1u)];
    var sum = vec2<f32>(0.0);
    for (var i = own.answer + lane; i < own.end; i += 64u) {
        sum.x += losses[i];
    }
    for (var i = own.start + lane; i < own.answer; i += 64u) {
        sum.y += losses[i];
    }
    of_lane[lane] = sum;
    workgroupBarrier();
    if (lane == 0u && is_there) {
        for (var i = 1u; i < 64u; i++) {
            sum += of_lane[i];
        }
        logps[index] = -sum.x;
        nlls[index] = sum.y + sum.x;
    }
}
