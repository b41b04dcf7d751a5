// Two 16-bit values a word, the first in the low half.
{% set of_scale = 0 %}
@group(0) @binding(2) var<storage, read> values: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> unused_scales: array<f32>;

{% include "shared/widen.wgsl" %}

fn load_weight(row: u32, k8: u32) -> Eight {
    let words = values[row * (params.depth / 8u) + k8];
    return Eight(widen(halves(words.xy)), widen(halves(words.zw)));
}

fn load_quad(row: u32, k4: u32) -> vec4<f32> {
    let words = values[row * (params.depth / 8u) + k4 / 2u];
    return widen(halves(select(words.xy, words.zw, (k4 & 1u) == 1u)));
}
