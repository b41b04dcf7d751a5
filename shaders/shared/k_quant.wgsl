// Eight blocks of 32 under one pair of f16, each with a scale and a minimum of six bits: q·(d·s) − (dmin·m). The including
// file sets `bits`.
{% include "shared/blocks.wgsl" %}

fn load_weight(row: u32, k8: u32) -> Eight {
    let first = (row * (params.depth / 256u) + k8 / 32u) * 4u;
    let sub = k8 / 4u % 8u;
    // Three bytes have the bits, in one way for the first four blocks and in another for the others.
    let a = scales[first + 1u] >> (8u * (sub % 4u));
    let b = scales[first + 2u] >> (8u * (sub % 4u));
    let c = scales[first + 3u] >> (8u * (sub % 4u));
    let low = vec2<u32>(a, b) & vec2<u32>(63u);
    let high = (vec2<u32>(c, c >> 4u) & vec2<u32>(15u)) | ((vec2<u32>(a, b) >> vec2<u32>(2u)) & vec2<u32>(48u));
    let scale = pair_of(scales[first]) * vec2<f32>(select(high, low, sub < 4u));
    let eight = codes_of(row, k8);
    return Eight(eight.a * scale.x - scale.y, eight.b * scale.x - scale.y);
}
