// The f32 bits of 16-bit floats. Exact for every value: subnormals, infinities and NaN included,
// also on adapters whose own conversion flushes subnormals.
fn widen_f16(h: vec4<u32>) -> vec4<u32> {
    let sign = (h & vec4<u32>(0x8000u)) << vec4<u32>(16u);
    let exponent = (h >> vec4<u32>(10u)) & vec4<u32>(31u);
    let mantissa = h & vec4<u32>(0x3ffu);
    // A subnormal is mantissa * 2^-24, which f32 holds as a normal number.
    let subnormal = bitcast<vec4<u32>>(vec4<f32>(mantissa) * 5.9604644775390625e-8);
    let normal = ((exponent + vec4<u32>(112u)) << vec4<u32>(23u)) | (mantissa << vec4<u32>(13u));
    let special = vec4<u32>(0x7f800000u) | (mantissa << vec4<u32>(13u));
    let finite = select(normal, subnormal, exponent == vec4<u32>(0u));
    return sign | select(finite, special, exponent == vec4<u32>(31u));
}

fn widen_bf16(b: vec4<u32>) -> vec4<u32> {
    return b << vec4<u32>(16u);
}

// The four 16-bit values of two words, first value in the low half of the first word.
fn halves(words: vec2<u32>) -> vec4<u32> {
    return vec4<u32>(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
}
