// out[i] = inp[i] * mask[i] / (1 - p)        mask[i] = 0 with probability p, else 1
//
// Inverted dropout (Srivastava et al. 2014, scaled at training time). inp, out [n] f32, n a multiple
// of 4; seed [1] u32. The mask is a function of (seed, stream, i) alone and is never stored: a stream
// is one place in the model, a seed one micro-batch. scale = 1 / (1 - p), threshold = p * 2^32.
//
// An invocation owns four elements.
struct Params {
    n: u32,
    stream: u32,
    threshold: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> seed: array<u32>;
@group(0) @binding(2) var<storage, read> inp: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

{% include "shared/element.wgsl" %}
{% include "shared/dropout_mask.wgsl" %}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = element(group, groups, lane);
    if (index >= params.n / 4u) {
        return;
    }
    let is_kept = kept(index, params.stream, seed[0], params.threshold);
    out[index] = select(vec4<f32>(0.0), inp[index] * params.scale, is_kept);
}
