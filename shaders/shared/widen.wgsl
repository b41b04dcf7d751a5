// The values of 16-bit floats, each in the low half of a word. They have to be finite, as the weights
// of every checkpoint that loads.
{% if weight == "f16" %}
{% include "shared/f16.wgsl" %}
{% else %}
fn widen(half: vec4<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(half * vec4<u32>(0x10000u));
}
{% endif %}

// The four 16-bit values of two words, first value in the low half of the first word.
fn halves(words: vec2<u32>) -> vec4<u32> {
    return vec4<u32>(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
}
