// Four random numbers from a counter: pcg4d of Jarzynski and Olano, "Hash Functions for GPU Rendering",
// JCGT 9(3), 2020, listing "pcg4d".
fn pcg4d(counter: vec4<u32>) -> vec4<u32> {
    var x = counter * 1664525u + 1013904223u;
    x.x += x.y * x.w;
    x.y += x.z * x.x;
    x.z += x.x * x.y;
    x.w += x.y * x.z;
    x ^= x >> vec4<u32>(16u);
    x.x += x.y * x.w;
    x.y += x.z * x.x;
    x.z += x.x * x.y;
    x.w += x.y * x.z;
    return x;
}
