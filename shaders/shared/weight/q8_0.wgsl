// A signed byte a value, an f16 for each 32: q·d.
{% include "shared/bytes.wgsl" %}
@group(0) @binding(3) var<storage, read> scales: array<u32>;
{% include "shared/f16.wgsl" %}

fn load_weight(row: u32, k8: u32) -> Eight {
    let block = row * (params.depth / 32u) + k8 / 4u;
    let scale = widen(vec4<u32>(scales[block / 2u] >> (16u * (block % 2u))) & vec4<u32>(0xffffu)).x;
    let eight = bytes_of(row, k8);
    return Eight(eight.a * scale, eight.b * scale);
}
