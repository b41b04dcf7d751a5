// f32 as checkpoints have it.
{% set of_scale = 0 %}
@group(0) @binding(2) var<storage, read> values: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> unused_scales: array<f32>;

fn load_weight(row: u32, k8: u32) -> Eight {
    let index = row * (params.depth / 4u) + k8 * 2u;
    return Eight(values[index], values[index + 1u]);
}

fn load_quad(row: u32, k4: u32) -> vec4<f32> {
    return values[row * (params.depth / 4u) + k4];
}
