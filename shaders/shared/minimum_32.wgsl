// Two f16 for each 32 values: q·d + m. The including file sets `bits`.
{% include "shared/blocks.wgsl" %}
{% set of_scale = 4 %}
alias Scale = vec2<f32>;

fn load_scale(row: u32, k8: u32) -> Scale {
    return pair_of(scales[row * (params.depth / 32u) + k8 / 4u]);
}

fn load_scaled(row: u32, k8: u32, scale: Scale) -> Eight {
    let eight = codes_of(row, k8);
    return Eight(eight.a * scale.x + scale.y, eight.b * scale.x + scale.y);
}

fn load_weight(row: u32, k8: u32) -> Eight {
    return load_scaled(row, k8, load_scale(row, k8));
}
