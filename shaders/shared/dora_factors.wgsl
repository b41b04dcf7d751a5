// m/n of four columns of Z: 1 where their layer has no LoRA, 0 where the norm is.
@group(0) @binding(1) var<storage, read> magnitudes: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> norms: array<vec4<f32>>;

fn factors(column: u32) -> vec4<f32> {
    let layer = layer_of(column);
    if params.t_offset[layer.number] == NONE {
        return vec4<f32>(1.0);
    }
    let quad = quad_of(layer, column);
    let norm = norms[quad];
    let is_zero = norm == vec4<f32>(0.0);
    return select(magnitudes[quad] / select(norm, vec4<f32>(1.0), is_zero), vec4<f32>(0.0), is_zero);
}
