// A signed byte a value, an f16 for each 32: q·d.
{% include "shared/bytes.wgsl" %}
@group(0) @binding(3) var<storage, read> scales: array<u32>;
{% include "shared/f16.wgsl" %}
{% set of_scale = 4 %}
alias Scale = f32;

fn load_scale(row: u32, k8: u32) -> Scale {
    let block = row * (params.depth / 32u) + k8 / 4u;
    return widen(vec4<u32>(scales[block / 2u] >> (16u * (block % 2u))) & vec4<u32>(0xffffu)).x;
}

fn load_scaled(row: u32, k8: u32, scale: Scale) -> Eight {
    let eight = bytes_of(row, k8);
    return Eight(eight.a * scale, eight.b * scale);
}

fn load_weight(row: u32, k8: u32) -> Eight {
    return load_scaled(row, k8, load_scale(row, k8));
}
