// What both directions of dropout share.
{{ params("dropout::Params") }}
@group(0) @binding(1) var<storage, read> seed: array<u32>;

// Which of the four elements at `quad` are kept, from a counter-based generator: pcg4d of Jarzynski
// and Olano, "Hash Functions for GPU Rendering", JCGT 9(3), 2020, listing "pcg4d". An element is
// dropped where its 32 bits lie below the threshold, probability * 2^32.
fn kept(quad: u32, stream: u32, seed: u32, threshold: u32) -> vec4<bool> {
    var x = vec4<u32>(quad, stream, seed, 0u) * 1664525u + 1013904223u;
    x.x += x.y * x.w;
    x.y += x.z * x.x;
    x.z += x.x * x.y;
    x.w += x.y * x.z;
    x ^= x >> vec4<u32>(16u);
    x.x += x.y * x.w;
    x.y += x.z * x.x;
    x.z += x.x * x.y;
    x.w += x.y * x.z;
    return x >= vec4<u32>(threshold);
}
