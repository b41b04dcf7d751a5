// Six bits a value, a signed byte s for each 16, an f16 d for each 256: (q − 32)·(d·s).
{% set bits = 6 %}
{% include "shared/blocks.wgsl" %}
{% set of_scale = 2 %}
alias Scale = f32;

fn load_scale(row: u32, k8: u32) -> Scale {
    let first = (row * (params.depth / 256u) + k8 / 32u) * 5u;
    let sixteenth = k8 / 2u % 16u;
    let byte = scales[first + sixteenth / 4u] << (24u - 8u * (sixteenth % 4u));
    return pair_of(scales[first + 4u]).x * f32(bitcast<i32>(byte) >> 24u);
}

fn load_scaled(row: u32, k8: u32, scale: Scale) -> Eight {
    let eight = codes_of(row, k8);
    return Eight((eight.a - 32.0) * scale, (eight.b - 32.0) * scale);
}

fn load_weight(row: u32, k8: u32) -> Eight {
    return load_scaled(row, k8, load_scale(row, k8));
}
