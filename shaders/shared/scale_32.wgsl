// One f16 for each 32 values: (q - offset)·d. The including file sets `bits` and `offset`.
{% include "shared/blocks.wgsl" %}

fn load_weight(row: u32, k8: u32) -> Eight {
    let block = row * (params.depth / 32u) + k8 / 4u;
    let pair = pair_of(scales[block / 2u]);
    let scale = select(pair.x, pair.y, block % 2u == 1u);
    let eight = codes_of(row, k8);
    return Eight((eight.a - {{ offset }}) * scale, (eight.b - {{ offset }}) * scale);
}
