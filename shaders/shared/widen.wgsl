// The values of 16-bit floats, each in the low half of a word. They have to be finite, as the weights
// of every checkpoint that loads. Exact also where the adapter's own conversion flushes subnormals.
// Products stand for shifts, which SwiftShader does lane by lane.
{% if weight == "f16" %}
fn widen(half: vec4<u32>) -> vec4<f32> {
    // With the exponent one too large a normal number is twice its value, and a subnormal one, which
    // then has the leading bit that it lacks, is 2^-14 too large.
    let large = bitcast<vec4<f32>>((half & vec4<u32>(0x7fffu)) * vec4<u32>(0x2000u) + vec4<u32>(0x38800000u));
    let magnitude = large - max(0.5 * large, vec4<f32>(6.103515625e-5));
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(magnitude) | ((half & vec4<u32>(0x8000u)) * vec4<u32>(0x10000u)));
}
{% else %}
fn widen(half: vec4<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(half * vec4<u32>(0x10000u));
}
{% endif %}

// The four 16-bit values of two words, first value in the low half of the first word.
fn halves(words: vec2<u32>) -> vec4<u32> {
    return vec4<u32>(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
}
