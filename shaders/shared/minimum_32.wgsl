// Two f16 for each 32 values: q·d + m. The including file sets `bits`.
{% include "shared/blocks.wgsl" %}

fn load_weight(row: u32, k8: u32) -> Eight {
    let scale = pair_of(scales[row * (params.depth / 32u) + k8 / 4u]);
    let eight = codes_of(row, k8);
    return Eight(eight.a * scale.x + scale.y, eight.b * scale.x + scale.y);
}
