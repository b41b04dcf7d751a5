// out[i] = inp[i] * mask[i] / (1 - p)        mask[i] = 0 with probability p, else 1
//
// Inverted dropout (Srivastava et al. 2014, scaled at training time). inp, out [n] f32, n a multiple
// of 4; seed [1] u32. The mask is a function of (seed, stream, i) alone and is never stored: a stream
// is one place in the model, a seed one micro-batch. scale = 1 / (1 - p), threshold = p * 2^32.
//
// An invocation owns four elements.
{% from "shared/each_element.wgsl" import each_element %}
{% include "shared/dropout.wgsl" %}
@group(0) @binding(2) var<storage, read> inp: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

{% call each_element("params.n / 4u") %}
    let is_kept = kept(index, params.stream, seed[0], params.threshold);
    out[index] = select(vec4<f32>(0.0), inp[index] * params.scale, is_kept);
{% endcall %}
