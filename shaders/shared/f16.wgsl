// The values of f16, each in the low half of a word. They have to be finite. Exact also where the adapter's own conversion
// flushes subnormals. Products stand for shifts, which SwiftShader does lane by lane.
fn widen(half: vec4<u32>) -> vec4<f32> {
    // With the exponent one too large a normal number is twice its value, and a subnormal one, which
    // then has the leading bit that it lacks, is 2^-14 too large.
    let large = bitcast<vec4<f32>>((half & vec4<u32>(0x7fffu)) * vec4<u32>(0x2000u) + vec4<u32>(0x38800000u));
    let magnitude = large - max(0.5 * large, vec4<f32>(6.103515625e-5));
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(magnitude) | ((half & vec4<u32>(0x8000u)) * vec4<u32>(0x10000u)));
}
