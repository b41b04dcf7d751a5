// What both directions of dropout share.
{{ params("dropout::Params") }}
@group(0) @binding(1) var<storage, read> seed: array<u32>;

{% include "shared/pcg4d.wgsl" %}

// Which of the four elements at `quad` are kept. An element is dropped where its 32 random bits lie below the threshold,
// probability * 2^32.
fn kept(quad: u32, stream: u32, seed: u32, threshold: u32) -> vec4<bool> {
    return pcg4d(vec4<u32>(quad, stream, seed, 0u)) >= vec4<u32>(threshold);
}
