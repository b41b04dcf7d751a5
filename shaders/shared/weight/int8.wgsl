// LLM.int8 of bitsandbytes: an f32 for each row, of which a code is so many 127ths.
{% include "shared/bytes.wgsl" %}
@group(0) @binding(3) var<storage, read> scales: array<f32>;

// A maximum that changes nothing keeps compilers from multiplying the two factors first, which rounds otherwise.
fn in_127ths(product: vec4<f32>) -> vec4<f32> {
    return max(product, vec4<f32>(-3.4028234663852886e38)) * 0.007874015718698502;
}

// As many as any format has: a row's last ones may be fewer.
{% set of_scale = 8 %}
alias Scale = f32;

fn load_scale(row: u32, k8: u32) -> Scale {
    return scales[row];
}

fn load_scaled(row: u32, k8: u32, scale: Scale) -> Eight {
    let eight = bytes_of(row, k8);
    return Eight(in_127ths(eight.a * scale), in_127ths(eight.b * scale));
}

fn load_weight(row: u32, k8: u32) -> Eight {
    return load_scaled(row, k8, load_scale(row, k8));
}
