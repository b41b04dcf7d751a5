// Eight blocks of 32 under one pair of f16, each with a scale and a minimum of six bits: q·(d·s) − (dmin·m). The including
// file sets `bits`.
{% set scales = "array<vec4<u32>>" %}
{% include "shared/blocks.wgsl" %}
{% set of_scale = 4 %}
alias Scale = vec2<f32>;

fn load_scale(row: u32, k8: u32) -> Scale {
    let words = scales[row * (params.depth / 256u) + k8 / 32u];
    let sub = k8 / 4u % 8u;
    // Three bytes have the bits, in one way for the first four blocks and in another for the others.
    let bytes = words.yzw >> vec3<u32>(8u * (sub % 4u));
    let low = bytes.xy & vec2<u32>(63u);
    let high = (vec2<u32>(bytes.z, bytes.z >> 4u) & vec2<u32>(15u)) | ((bytes.xy >> vec2<u32>(2u)) & vec2<u32>(48u));
    return pair_of(words.x) * vec2<f32>(select(high, low, sub < 4u));
}

fn load_scaled(row: u32, k8: u32, scale: Scale) -> Eight {
    let eight = codes_of(row, k8);
    return Eight(eight.a * scale.x - scale.y, eight.b * scale.x - scale.y);
}

fn load_weight(row: u32, k8: u32) -> Eight {
    return load_scaled(row, k8, load_scale(row, k8));
}
