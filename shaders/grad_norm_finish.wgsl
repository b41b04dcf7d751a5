// norm = sqrt(sum_{i < count} partials[i])
// stats = [norm, clip, finite, finite before]
//     clip = min(1, max_grad_norm / (norm + 1e-6)), or 1 where max_grad_norm is 0
//     finite = 1 where norm and loss are finite, else 0 (clip is then 0)
//
// partials [count] f32 from grad_norm_squares; loss [1] f32 from grad_norm_loss_sum, only read, but
// writable because it may lie in the buffer of stats; stats [4] f32. The clip coefficient is that of
// torch.nn.utils.clip_grad_norm_.
//
// One workgroup of 64, fixed order. WGSL lets a compiler assume that NaN and infinities never occur,
// so whether the sum is finite is read from its bits.
{{ params("grad_norm::FinishParams") }}
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;
@group(0) @binding(3) var<storage, read_write> stats: array<f32>;

const EXPONENT = 0x7f800000u;

{% include "shared/sum_64.wgsl" %}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < params.count; i += 64u) {
        sum += partials[i];
    }
    let total = sum_64(sum, lane);
    if (lane == 0u) {
        let is_norm_finite = (bitcast<u32>(total) & EXPONENT) != EXPONENT;
        let is_finite = is_norm_finite && (bitcast<u32>(loss[0]) & EXPONENT) != EXPONENT;
        let norm = select(total, sqrt(total), is_norm_finite);
        var clip = 1.0;
        if (params.max_grad_norm > 0.0) {
            clip = min(1.0, params.max_grad_norm / (norm + 1.0e-6));
        }
        let was_finite = select(0.0, 1.0, stats[2] == 1.0);
        stats[0] = norm;
        stats[1] = select(0.0, clip, is_finite);
        stats[2] = select(0.0, 1.0, is_finite);
        stats[3] = was_finite;
    }
}
