// The codes of GGUF's formats with four to six bits a value. Of each 32 values a weight has four words of four bits, the
// first value in the lowest ones, and behind them those of the bits above. The including file sets `bits`, and `scales` to
// the type of the scales where they are no single words.
//
// f16 scales times codes are exact in f32, so that a fused multiply-add changes nothing.
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: {{ scales | default("array<u32>") }};

{% include "shared/f16.wgsl" %}

// The two f16 of a word.
fn pair_of(word: u32) -> vec2<f32> {
    return widen(vec4<u32>(word & 0xffffu, word >> 16u, 0u, 0u)).xy;
}

fn codes_of(row: u32, k8: u32) -> Eight {
    let first = (row * (params.depth / 32u) + k8 / 4u) * {{ bits }}u;
    let part = k8 % 4u;
    let word = codes[first + part];
    var low = (vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    var high = (vec4<u32>(word) >> vec4<u32>(16u, 20u, 24u, 28u)) & vec4<u32>(15u);
    {% if bits == 5 %}
    let fifth = codes[first + 4u] >> (8u * part);
    low |= (vec4<u32>(fifth) << vec4<u32>(4u, 3u, 2u, 1u)) & vec4<u32>(16u);
    high |= (vec4<u32>(fifth) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(16u);
    {% elif bits == 6 %}
    let more = codes[first + 4u + part / 2u] >> (16u * (part % 2u));
    low |= vec4<u32>(more << 4u, more << 2u, more, more >> 2u) & vec4<u32>(48u);
    high |= (vec4<u32>(more) >> vec4<u32>(4u, 6u, 8u, 10u)) & vec4<u32>(48u);
    {% endif %}
    return Eight(vec4<f32>(low), vec4<f32>(high));
}
