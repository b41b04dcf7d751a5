// One f16 for each 32 values: (q - offset)·d. The including file sets `bits` and `offset`.
{% include "shared/blocks.wgsl" %}
{% set of_scale = 4 %}
alias Scale = f32;

fn load_scale(row: u32, k8: u32) -> Scale {
    let block = row * (params.depth / 32u) + k8 / 4u;
    let pair = pair_of(scales[block / 2u]);
    return select(pair.x, pair.y, block % 2u == 1u);
}

fn load_scaled(row: u32, k8: u32, scale: Scale) -> Eight {
    let eight = codes_of(row, k8);
    return Eight((eight.a - {{ offset }}) * scale, (eight.b - {{ offset }}) * scale);
}

fn load_weight(row: u32, k8: u32) -> Eight {
    return load_scaled(row, k8, load_scale(row, k8));
}
